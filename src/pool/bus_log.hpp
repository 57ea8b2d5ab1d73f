// SPDX-License-Identifier: BSD-3-Clause
// The log of a bus: a ring that one writes and many read, each at its own place.
//
// Shape: struct flowfs_log, then the ring, which is as long as the rest of the memory
// (docs/dataplane.md, "Bus logs"). `tail` publishes; `floor` says what is no longer to be believed,
// and is stored before the bytes behind it change. A reader copies first and looks at the floor
// afterwards.
// Threads: one writer; each reader object one thread. In any number of processes.
// Errors: outcomes. `corrupt` is final: the writer wrote what an honest one cannot have written.
// Units: bytes. Positions count all bytes ever laid into the ring.
// Invariants, of an honest writer:
//   1. floor <= tail <= what is staged <= floor + ring, and floor and tail are where records begin.
//   2. Nothing at or behind the floor is overwritten.
// Peer death: at any instruction the log ends at `tail`; what is being written is not seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "flowfs/wire.h"

namespace flowfs::pool {

// What a message takes of a ring, beside padding.
constexpr std::uint64_t log_cost(std::size_t message_bytes) {
  return (sizeof(flowfs_log_record) + message_bytes + FLOWFS_RECORD_ALIGN - 1) &
         ~std::uint64_t{FLOWFS_RECORD_ALIGN - 1};
}

class LogWriter {
 public:
  // Goes on where `start` says; a new log begins at {0, 0}.
  struct Start {
    std::uint64_t position = 0;
    std::uint64_t sequence = 0;
  };
  // `memory` is the page and the ring, and stays mapped.
  explicit LogWriter(std::span<std::byte> memory) : LogWriter(memory, Start{}) {}
  LogWriter(std::span<std::byte> memory, Start start);

  // Whether any message of `bytes` can be had into this ring at all.
  [[nodiscard]] bool can_hold(std::size_t bytes) const { return 2 * log_cost(bytes) <= ring_; }
  // Whether one fits now, and nothing has to go for it.
  [[nodiscard]] bool has_room(std::size_t bytes) const;
  // Gives up the oldest records until one fits. can_hold(bytes).
  void make_room(std::size_t bytes);
  // Nothing before `position`, where a record begins or the last one ends, is needed any more.
  void give_up_to(std::uint64_t position);

  // Lays down a message behind what is staged, for which there is room; nobody sees it yet.
  // Returns where the record ends.
  std::uint64_t append(std::span<const std::byte> message, std::uint32_t origin);
  // The place of such a message, to be written by the caller before the next call, which is
  // stage_loan() with what it took of it, at least one byte, or cancel_loan().
  std::span<std::byte> loan(std::size_t bytes);
  void stage_loan(std::size_t bytes, std::uint32_t origin);
  void cancel_loan() { loaned_ = false; }
  // Shows all that is staged. Afterwards the caller rings (ring()).
  void publish();
  // Wakes every reader that sleeps. Whether any does is not known, so this is a system call: once a
  // batch.
  void ring() { ring(header()); }
  static void ring(flowfs_log& log);

  // Behind the last record laid down, and where the first one begins that is still to be had.
  [[nodiscard]] std::uint64_t position() const { return staged_; }
  [[nodiscard]] std::uint64_t floor() const { return floor_; }
  [[nodiscard]] std::uint64_t sequence() const { return sequence_; }
  // How far from the ring's beginning the next message of `bytes` will reach.
  [[nodiscard]] std::uint64_t reach(std::size_t bytes) const;

 private:
  [[nodiscard]] flowfs_log& header() const {
    return *reinterpret_cast<flowfs_log*>(memory_.data());
  }
  [[nodiscard]] std::uint64_t padding_for(std::size_t bytes) const;
  [[nodiscard]] std::byte* at(std::uint64_t position) const {
    return memory_.data() + FLOWFS_LOG_HEADER_BYTES + position % ring_;
  }
  void put_header(std::uint32_t length, std::uint32_t origin);
  void pad(std::size_t bytes);
  void drop_first();

  std::span<std::byte> memory_;
  std::uint64_t ring_;
  std::uint64_t floor_;
  std::uint64_t published_;
  std::uint64_t staged_;
  std::uint64_t last_;      // where the last record begins
  std::uint64_t sequence_;  // of the next record
  std::uint64_t payload_bytes_ = 0;
  bool loaned_ = false;
};

class LogReader {
 public:
  enum class [[nodiscard]] Outcome {
    record,
    empty,
    end,  // the log was closed here (set_end)
    corrupt,
  };
  struct Record {
    std::span<const std::byte> payload;  // in the writer's memory, believed only after intact()
    std::uint64_t sequence = 0;
    std::uint32_t origin = 0;
  };

  // `memory` is the page and the whole ring, as long as the file is. Begins at `position` with the
  // record `sequence` (FLOWFS_SEQUENCE_ANY: whatever it is); steps over those of `own`.
  LogReader(std::span<const std::byte> memory, std::uint64_t position, std::uint64_t sequence,
            std::uint32_t own = 0);

  // The record at the position, the same one until pop(). Where the reader was overtaken it is the
  // oldest that is left, and lost() has grown. It looks at the tail once: however fast the reader's
  // own records follow, it comes to an end. That look is seq_cst: after an empty one the bell that
  // was read before it may be waited on.
  Outcome peek(Record& record);
  // Copies the payload of the record peeked. False: it was overtaken meanwhile; peek() again.
  bool copy(std::span<std::byte> to);
  // Whether what was read in place up to now was the record peeked.
  [[nodiscard]] bool intact() const;
  void pop();
  // On to the newest record, where that is further on. Those in between do not count as lost.
  void skip_to_newest();
  // The log ends at `position`.
  void set_end(std::uint64_t position) { end_ = position; }

  // Behind what is published now; not checked.
  [[nodiscard]] std::uint64_t published() const;
  [[nodiscard]] std::uint64_t position() const { return position_; }
  [[nodiscard]] std::uint64_t sequence() const { return sequence_; }
  // Whether sequence() is that of the position: not where the reader was overtaken, until it has
  // peeked.
  [[nodiscard]] bool knows_sequence() const { return !overtaken_; }
  // Messages that were overwritten before they were read.
  [[nodiscard]] std::uint64_t lost() const { return lost_; }

 private:
  [[nodiscard]] const flowfs_log& header() const {
    return *reinterpret_cast<const flowfs_log*>(memory_.data());
  }
  // Whether anything lies at the position. `fresh`: whether the tail has been looked at.
  Outcome look(bool& fresh);
  // The record there, if it is one for the caller, into peeked_; else a step further.
  bool take();
  bool fall_back();

  std::span<const std::byte> memory_;
  std::uint64_t ring_;
  std::uint64_t position_;
  std::uint64_t sequence_;
  std::uint32_t own_;
  std::uint64_t tail_;      // as far as is known to be published
  bool overtaken_ = false;  // since the record before: a gap is what was lost
  std::uint64_t next_ = 0;  // behind the record peeked
  std::optional<Record> peeked_;
  std::optional<std::uint64_t> end_;
  std::uint64_t lost_ = 0;
  bool corrupt_ = false;
};

// The memory of a log and the daemon's mapping of it.
class Log {
 public:
  // The page is there at once, the ring as it is asked for. `ring_bytes` is a multiple of 4096.
  // Errors: those of memfd_create, fallocate and mmap.
  static Result<Log> create(std::uint64_t ring_bytes, std::uint64_t generation);
  // Room for a depth, and for messages of up to `mtu_bytes` each in one piece.
  static std::uint64_t ring_for(std::uint64_t mtu_bytes, std::uint64_t depth_bytes);

  // Who may write it is shown another; before that one maps it to be read.
  void set_generation(std::uint64_t generation);
  // Whether the constants of the page are what they were made.
  [[nodiscard]] bool is_intact() const;

  // The ring's memory up to `end` is there afterwards, so that a full machine is an error and not a
  // SIGBUS. Errors: those of madvise.
  Status populate(std::uint64_t end);
  [[nodiscard]] std::span<std::byte> bytes() const { return mapping_->bytes(); }
  [[nodiscard]] std::uint64_t ring_bytes() const {
    return mapping_->size() - FLOWFS_LOG_HEADER_BYTES;
  }
  [[nodiscard]] flowfs_log& header() const {
    return *reinterpret_cast<flowfs_log*>(mapping_->data());
  }
  [[nodiscard]] const Fd& fd() const { return fd_; }
  // Whoever registered it elsewhere keeps the memory; so does the mapping.
  void close_fd() { fd_.reset(); }
  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  // For a wait in the loop, which may outlive this object.
  [[nodiscard]] const std::shared_ptr<Mapping>& mapping() const { return mapping_; }
  // Gives every page back, whoever still maps them (as Segment::discard).
  void discard();

 private:
  Log(Fd fd, std::shared_ptr<Mapping> mapping, std::uint64_t generation)
      : fd_(std::move(fd)), mapping_(std::move(mapping)), generation_(generation) {}

  Fd fd_;
  std::shared_ptr<Mapping> mapping_;
  std::uint64_t generation_;
  std::uint64_t populated_ = 0;  // of the ring
};

}  // namespace flowfs::pool
