// SPDX-License-Identifier: BSD-3-Clause
#include "cli/histogram.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>
#include <vector>

namespace flowfs::cli {
namespace {

TEST(Histogram, is_all_zero_when_empty) {
  const Histogram times;
  EXPECT_EQ(times.count(), 0U);
  EXPECT_EQ(times.least(), 0U);
  EXPECT_EQ(times.greatest(), 0U);
  EXPECT_EQ(times.mean(), 0.0);
  EXPECT_EQ(times.percentile(50), 0U);
}

TEST(Histogram, knows_small_values_exactly) {
  Histogram times;
  for (std::uint64_t value = 1; value <= 100; ++value) {
    times.add(value);
  }
  EXPECT_EQ(times.percentile(0), 1U);
  EXPECT_EQ(times.percentile(50), 50U);
  EXPECT_EQ(times.percentile(99), 99U);
  EXPECT_EQ(times.percentile(100), 100U);
  EXPECT_DOUBLE_EQ(times.mean(), 50.5);
}

TEST(Histogram, of_one_value_is_that_value) {
  Histogram times;
  times.add(123'456'789);
  for (const double percent : {0.0, 50.0, 99.0, 100.0}) {
    EXPECT_EQ(times.percentile(percent), 123'456'789U);
  }
}

TEST(Histogram, holds_the_ends_of_the_range) {
  Histogram times;
  times.add(0);
  times.add(UINT64_MAX);
  EXPECT_EQ(times.percentile(50), 0U);
  EXPECT_EQ(times.percentile(100), UINT64_MAX);
}

TEST(Histogram, is_within_a_64th_of_the_sorted_values) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> spread(10, 3);
  std::vector<std::uint64_t> values;
  Histogram times;
  for (int count = 0; count < 20'000; ++count) {
    values.push_back(static_cast<std::uint64_t>(spread(random)));
    times.add(values.back());
  }
  std::ranges::sort(values);
  EXPECT_EQ(times.least(), values.front());
  EXPECT_EQ(times.greatest(), values.back());
  for (const double percent : {1.0, 25.0, 50.0, 90.0, 99.0, 99.9}) {
    const double rank = std::ceil(static_cast<double>(values.size()) * percent / 100);
    const auto exact = static_cast<double>(values[static_cast<std::size_t>(rank) - 1]);
    const auto found = static_cast<double>(times.percentile(percent));
    EXPECT_GE(found, exact) << percent;
    EXPECT_LE(found, exact * (1 + 1.0 / 64)) << percent;
  }
}

}  // namespace
}  // namespace flowfs::cli
