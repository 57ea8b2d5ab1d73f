// SPDX-License-Identifier: BSD-3-Clause
// Which of the last 1024 numbered packets have come.
//
// Source: the sliding window of RFC 4303, as a ring of bits.
// Threads: one at a time.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>

namespace flowfs::auth {

class ReplayWindow {
 public:
  static constexpr std::uint64_t kSize = 1024;

  // Every number below `next` counts as seen.
  explicit ReplayWindow(std::uint64_t next = 0) : next_(next) { seen_.set(); }

  // Neither seen nor too far behind the highest number that was.
  [[nodiscard]] bool is_fresh(std::uint64_t number) const {
    return number >= next_ || (next_ - number <= kSize && !seen_[number % kSize]);
  }
  void mark(std::uint64_t number) {
    // The places of the numbers between still show those a turn of the ring ago.
    for (std::uint64_t between = std::max(next_, number - std::min(number, kSize - 1));
         between < number; ++between) {
      seen_.reset(between % kSize);
    }
    seen_.set(number % kSize);
    next_ = std::max(next_, number + 1);
  }

 private:
  std::uint64_t next_;  // the highest that was seen, and 1
  std::bitset<kSize> seen_;
};

}  // namespace flowfs::auth
