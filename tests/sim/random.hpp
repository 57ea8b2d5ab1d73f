// SPDX-License-Identifier: BSD-3-Clause
// Numbers that depend on the seed and the step alone, so that a step means the same when others
// before it are cut away.
//
// Source: the output function is SplitMix64 (Steele, Lea, Flood 2014).
#pragma once

#include <cstddef>
#include <cstdint>

namespace flowfs::registry::sim {

class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t step)
      : state_(mix(seed + kGamma) ^ mix(~step * kGamma)) {}

  std::uint64_t next() { return mix(state_ += kGamma); }
  // 0 .. bound - 1; bound > 0. The bias is far below what a simulation could notice.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  std::uint64_t between(std::uint64_t least, std::uint64_t most) {
    return least + below(most - least + 1);
  }
  bool one_in(std::uint64_t count) { return below(count) == 0; }
  template <typename Container>
  const auto& pick(const Container& from) {
    return from[below(from.size())];
  }

 private:
  static constexpr std::uint64_t kGamma = 0x9E3779B97F4A7C15U;

  static constexpr std::uint64_t mix(std::uint64_t value) {
    value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
    value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
    return value ^ (value >> 31U);
  }

  std::uint64_t state_;
};

}  // namespace flowfs::registry::sim
