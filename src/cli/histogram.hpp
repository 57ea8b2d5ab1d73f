// SPDX-License-Identifier: BSD-3-Clause
// Times of a long run in bounded memory: exact count, least, greatest and mean, percentiles to
// within 1/64 (below 1.6 %).
//
// Shape: values below 128 have a bucket each; from there every power of two is split into 64.
// Units: whatever is added, whole numbers (flowctl adds nanoseconds).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace flowfs::cli {

class Histogram {
 public:
  void add(std::uint64_t value);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint64_t least() const { return count_ == 0 ? 0 : least_; }
  [[nodiscard]] std::uint64_t greatest() const { return greatest_; }
  [[nodiscard]] double mean() const;

  // The least value that at least `percent` of all values do not exceed; 0 of none. Never outside
  // least() .. greatest().
  [[nodiscard]] std::uint64_t percentile(double percent) const;

 private:
  static constexpr unsigned kSplitBits = 6;
  static constexpr std::size_t kBuckets = (64 - kSplitBits + 1) << kSplitBits;

  static std::size_t bucket(std::uint64_t value);
  static std::uint64_t top_of(std::size_t bucket);

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t least_ = UINT64_MAX;
  std::uint64_t greatest_ = 0;
  long double sum_ = 0;
};

}  // namespace flowfs::cli
