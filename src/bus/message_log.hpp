// SPDX-License-Identifier: BSD-3-Clause
// The messages of a bus in order: one record each, however many read it.
//
// A record knows for whom it is and how many of them have not read it yet. What everybody has read
// is *settled*, and kept only as long as the bus wants it for late joiners, or until room is
// needed.
//
// Threads: one. Units: bytes, as cost() counts them. Invariants:
//   1. bytes() is the sum of the costs of the records, unread_bytes() of those behind the settled
//   ones.
//   2. A settled record has unread == 0, and so has every one before it; the first that is not
//   settled has unread > 0.
//   3. Places are never used again: place p is the record that was pushed as the p-th.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "bus/member.hpp"
#include "bus/shared_log.hpp"

namespace flowfs::bus {

// What a message is counted as. One of an interface may stand for many frames.
struct Worth {
  std::uint32_t messages = 1;
  std::uint32_t bytes = 0;
};

class MessageLog {
 public:
  // The places of the log, from the first message ever.
  using Place = std::uint64_t;
  // Who gets a record, ascending; none: everybody but its sender.
  using Audience = std::unique_ptr<const std::vector<PortId>>;

  struct Record {
    std::unique_ptr<std::byte[]> bytes;  // none where a shared log has them
    SharedLog::Extent shared;            // end 0: nowhere
    Audience audience;
    PortId sender{};
    std::uint32_t length = 0;
    std::uint32_t unread = 0;
    Worth worth;

    [[nodiscard]] bool is_for(PortId port) const;
  };

  // What keeping a message costs beside its bytes: the record, and what the allocator adds.
  static constexpr std::size_t kRecordBytes = 64;
  static constexpr std::size_t cost(std::size_t length) { return length + kRecordBytes; }

  [[nodiscard]] bool empty() const { return records_.empty(); }
  [[nodiscard]] Place begin() const { return first_; }
  [[nodiscard]] Place end() const { return first_ + records_.size(); }
  // begin() <= place < end().
  [[nodiscard]] const Record& at(Place place) const { return records_[place - first_]; }
  [[nodiscard]] Record& at(Place place) { return records_[place - first_]; }
  // The first place that somebody has still to read.
  [[nodiscard]] Place settled_end() const { return first_ + settled_; }

  // Where the last record that was dropped ended in the shared log.
  [[nodiscard]] std::uint64_t dropped_to() const { return dropped_to_; }
  // There is another shared log now.
  void forget_dropped() { dropped_to_ = 0; }

  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t unread_bytes() const { return bytes_ - settled_bytes_; }

  void push(Record record);
  // One of those who have still to read the record has done so, or never will.
  void read(Place place);
  // One more has to read it.
  void read_again(Place place);
  // Drops the first record, read or not.
  void pop();
  // Drops settled records until no more than `most` records are left.
  void trim(std::uint64_t most);

 private:
  void settle();

  std::deque<Record> records_;
  Place first_ = 0;
  std::size_t settled_ = 0;  // how many, from the first
  std::size_t bytes_ = 0;
  std::size_t settled_bytes_ = 0;
  std::uint64_t dropped_to_ = 0;
};

}  // namespace flowfs::bus
