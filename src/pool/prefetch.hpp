// SPDX-License-Identifier: BSD-3-Clause
// The next lines of a ring, asked for before they are needed.
//
// A line that the other processor has takes as long to come as several short messages take to write
// or read. A writer publishes each message with a store that waits for its lines, so it asks for
// the ones it will write; a reader then finds its own lines with the writer, which is done with
// them, and asks for those. A hint and no more: it never faults and orders nothing.
//
// Threads: one, that of its direction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace flowfs::pool {

enum class Intent : std::uint8_t { read, write };

template <Intent intent>
class Prefetch {
 public:
  // How far it looks ahead: further gains nothing, and takes from the peer what it still uses.
  static constexpr std::uint64_t kDistance = 256;
  static constexpr std::uint64_t kLine = 64;

  // Positions count all bytes ever laid into the ring, whose size is a multiple of a line.
  Prefetch(std::span<const std::byte> ring, std::uint64_t position) : ring_(ring) {
    begin(position);
  }

  // Called for each record, with the position behind it; `end`: nothing at or behind it is asked
  // for. Returns how many lines it asked for: a few at most, whatever the positions are, as they
  // may be those of a lying peer.
  unsigned follow(std::uint64_t position, std::uint64_t end = UINT64_MAX) {
    if (next_ - position > kDistance + kLine) {
      begin(position);  // a record longer than that
    }
    unsigned lines = 0;
    for (; next_ - position < kDistance && next_ < end; ++lines) {
      ask(ring_.data() + offset_);
      next_ += kLine;
      offset_ = offset_ + kLine == ring_.size() ? 0 : offset_ + kLine;
    }
    return lines;
  }

 private:
  void begin(std::uint64_t position) {
    next_ = (position + kLine - 1) / kLine * kLine;
    offset_ = next_ % ring_.size();
  }
  static void ask(const std::byte* at) {
    if constexpr (intent == Intent::read) {
      __builtin_prefetch(at);
    } else {
#if defined(__x86_64__)
      // What the builtin makes of a write without a processor option is a line to share.
      asm volatile("prefetchw %0" : : "m"(*at));
#else
      __builtin_prefetch(at, 1);
#endif
    }
  }

  std::span<const std::byte> ring_;
  std::uint64_t next_ = 0;    // position of the first line not asked for
  std::uint64_t offset_ = 0;  // next_ % size
};

}  // namespace flowfs::pool
