// SPDX-License-Identifier: BSD-3-Clause
#include "cli/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace flowfs::cli {

// Values below 2^(kSplitBits + 1) are their own bucket. Above, a value is shifted right until
// kSplitBits + 1 bits are left, and each shift begins a further row of 2^kSplitBits buckets.
std::size_t Histogram::bucket(std::uint64_t value) {
  const auto bits = static_cast<unsigned>(std::bit_width(value));
  const unsigned shift = bits > kSplitBits + 1 ? bits - kSplitBits - 1 : 0;
  return (std::size_t{shift} << kSplitBits) + static_cast<std::size_t>(value >> shift);
}

std::uint64_t Histogram::top_of(std::size_t bucket) {
  constexpr std::size_t kRow = std::size_t{1} << kSplitBits;
  if (bucket < 2 * kRow) {
    return bucket;
  }
  const std::size_t shift = bucket / kRow - 1;
  const std::uint64_t leading = bucket - shift * kRow;
  return (leading << shift) + ((std::uint64_t{1} << shift) - 1);
}

void Histogram::add(std::uint64_t value) {
  ++buckets_[bucket(value)];
  ++count_;
  least_ = std::min(least_, value);
  greatest_ = std::max(greatest_, value);
  sum_ += static_cast<long double>(value);
}

double Histogram::mean() const {
  return count_ == 0 ? 0.0 : static_cast<double>(sum_ / static_cast<long double>(count_));
}

std::uint64_t Histogram::percentile(double percent) const {
  if (count_ == 0) {
    return 0;
  }
  const double wanted = std::ceil(static_cast<double>(count_) * percent / 100.0);
  const auto rank =
      std::clamp<std::uint64_t>(wanted <= 1 ? 1 : static_cast<std::uint64_t>(wanted), 1, count_);
  std::uint64_t seen = 0;
  std::size_t index = 0;
  while ((seen += buckets_[index]) < rank) {
    ++index;
  }
  return std::clamp(top_of(index), least_, greatest_);
}

}  // namespace flowfs::cli
