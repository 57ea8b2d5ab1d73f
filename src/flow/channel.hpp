// SPDX-License-Identifier: BSD-3-Clause
// The data of one flow as the daemon sees it: two directions, each end in file mode or mapped mode.
//
//   file  -> file      a private queue in the daemon; no shared memory
//   file  -> mapped    the daemon writes the lane of the file end's segment on its behalf
//   mapped -> file     the daemon reads the mapped end's lane on behalf of the file end
//   mapped -> mapped   the daemon takes no part
//
// Threads: the loop's.
// Errors: outcomes. What is in a segment that a client could ever write is input (threats.md R1,
// R2). Units: bytes. Invariants:
//   1. A message leaves a direction exactly as it was written, once, in order.
//   2. queued_bytes(from) <= max(depth, one message).
//   3. After close(side) nothing is read from what that side maps but the records that were
//   committed
//      before, and nothing is written to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "flow/message_queue.hpp"

namespace flowfs::flow {

enum class Side : std::uint8_t { client, server };
constexpr Side other(Side side) { return side == Side::client ? Side::server : Side::client; }

enum class [[nodiscard]] WriteOutcome {
  ok,
  full,      // no room now
  too_long,  // longer than the mtu: EMSGSIZE
  closed,    // the peer has gone or does not receive: EPIPE
  busy,      // this end is in mapped mode: EBUSY
  corrupt,   // the flow is poisoned: EPROTO
};

enum class [[nodiscard]] ReadOutcome {
  ok,
  empty,
  end,      // end of file: the peer will send no more, and all it sent has been read
  busy,     // this end is in mapped mode: EBUSY
  corrupt,  // EPROTO
};

struct Limits {
  std::size_t mtu_bytes = 917'504;
  std::size_t depth_bytes = 1'048'576;
};

struct DirectionStats {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t copies = 0;  // between the sender's commit and the receiver's view
};

class Channel {
 public:
  explicit Channel(Limits limits);
  ~Channel();

  // File-mode data path. `from` and `to` are the end that acts. A message is accepted when nothing
  // is queued or when it fits into the depth beside what is; it is not empty. An end that has shut
  // down or closed its own direction writes `closed` and reads `end`.
  WriteOutcome write(Side from, std::span<const std::byte> message);
  // The unread rest of the message at the front, valid until the next call on this channel.
  struct Front {
    ReadOutcome outcome = ReadOutcome::empty;
    std::span<const std::byte> rest;
    bool begun = false;  // an earlier read took the first part
  };
  Front front(Side to);
  // Takes `bytes` <= rest.size() off the front message; the message goes when all of it is taken.
  void consume(Side to, std::size_t bytes);

  // Half-closes and closes. All idempotent.
  void shutdown_write(Side side);  // its peer reads end of file after the rest
  void shutdown_read(Side side);   // its peer's writes are `closed`; what is queued is dropped
  void close(Side side);  // both, and a mapped side is detached; what it sent stays readable
  [[nodiscard]] bool is_closed(Side side) const;

  // Readiness of a file-mode end, as poll reports it.
  [[nodiscard]] bool readable(Side side);  // a message or end of file
  // Room for one message of any legal length, or writing would fail at once.
  [[nodiscard]] bool writable(Side side);

  [[nodiscard]] std::size_t queued_bytes(
      Side from) const;  // private memory held for what `from` sent
  [[nodiscard]] const DirectionStats& stats(Side from) const;
  [[nodiscard]] const Limits& limits() const { return limits_; }

 private:
  struct Direction {
    MessageQueue queue;
    bool writer_open = true;
    bool reader_open = true;
    DirectionStats stats;
  };
  Direction& from(Side side) { return directions_[static_cast<std::size_t>(side)]; }
  [[nodiscard]] const Direction& from(Side side) const {
    return directions_[static_cast<std::size_t>(side)];
  }
  [[nodiscard]] bool has_room(const Direction& direction, std::size_t bytes) const;

  Limits limits_;
  Direction directions_[2];
};

}  // namespace flowfs::flow
