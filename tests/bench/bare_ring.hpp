// SPDX-License-Identifier: BSD-3-Clause
// A ring of records with a commit word each, copied in and out: what shared memory can do at best
// for one writer and one or several readers, without anything that a flow or a bus has besides: no
// checks, no rights, no deaths.
//
// Shape: 16-aligned records of a commit word and a payload. Positions count bytes; a commit word of
// 0: there is none yet.
// Threads: one for the writer and one for each reader, in any number of processes.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/futex.hpp"

namespace flowfs::bench {

struct Ring {
  static constexpr std::size_t kBytes = std::size_t{1} << 20U;
  static constexpr std::size_t kHeader = 16;
  static constexpr std::uint32_t kPadding = UINT32_MAX;
  static constexpr std::size_t kMostReaders = 16;

  // Who has gone to sleep, and what they sleep on.
  struct alignas(128) Sleepers {
    FutexWord any = 0;
    FutexWord bell = 0;
  };
  struct alignas(128) Cursor {
    std::atomic<std::uint64_t> position = 0;
  };

  std::array<Cursor, kMostReaders> cursors;  // each its reader's, every quarter
  Sleepers readers;
  Sleepers writer;
  alignas(128) std::byte bytes[kBytes]{};

  FutexWord& commit_at(std::uint64_t position) {
    return *reinterpret_cast<FutexWord*>(&bytes[position % kBytes]);
  }
};

class RingWriter {
 public:
  // No reader may have begun later.
  RingWriter(Ring& ring, std::size_t readers, bool spins)
      : ring_(ring), cursors_(std::span(ring.cursors).first(readers)), spins_(spins) {}
  void send(std::span<const std::byte> message);

 private:
  [[nodiscard]] std::uint64_t slowest() const;

  Ring& ring_;
  std::span<const Ring::Cursor> cursors_;
  bool spins_;
  std::uint64_t written_ = 0;
  std::uint64_t seen_ = 0;  // of the slowest reader's cursor
};

class RingReader {
 public:
  RingReader(Ring& ring, std::size_t number, bool spins)
      : ring_(ring), cursor_(ring.cursors[number]), spins_(spins) {}
  // A message of this length; any other is a failure. False: none has come for so long.
  bool receive(std::span<std::byte> message, Micros patience = Micros::max());

 private:
  std::uint32_t await_commit(Micros patience);
  void publish();

  Ring& ring_;
  Ring::Cursor& cursor_;
  bool spins_;
  std::uint64_t read_ = 0;
  std::uint64_t published_ = 0;
};

}  // namespace flowfs::bench
