// SPDX-License-Identifier: BSD-3-Clause
// with_span: cutting, joining and replacing ranges.
#include <gmock/gmock.h>

#include "fs/locks.hpp"

namespace flowfs::fs {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr auto kShared = LockMode::shared;
constexpr auto kExclusive = LockMode::exclusive;

const std::vector<LockSpan> kOne{{{10, 19}, kShared}};

TEST(lock_span, takes_the_first_range) {
  EXPECT_THAT(with_span({}, {10, 19}, kShared), ElementsAre(LockSpan{{10, 19}, kShared}));
}

TEST(lock_span, joins_neighbours_of_the_same_mode) {
  EXPECT_THAT(with_span(kOne, {20, 29}, kShared), ElementsAre(LockSpan{{10, 29}, kShared}));
  EXPECT_THAT(with_span(kOne, {0, 9}, kShared), ElementsAre(LockSpan{{0, 19}, kShared}));
}

TEST(lock_span, keeps_neighbours_of_another_mode_apart) {
  EXPECT_THAT(with_span(kOne, {20, 29}, kExclusive),
              ElementsAre(LockSpan{{10, 19}, kShared}, LockSpan{{20, 29}, kExclusive}));
}

TEST(lock_span, keeps_ranges_with_a_gap_apart) {
  EXPECT_THAT(with_span(kOne, {21, 29}, kShared),
              ElementsAre(LockSpan{{10, 19}, kShared}, LockSpan{{21, 29}, kShared}));
  EXPECT_THAT(with_span(kOne, {0, 8}, kShared),
              ElementsAre(LockSpan{{0, 8}, kShared}, LockSpan{{10, 19}, kShared}));
}

TEST(lock_span, joins_both_sides_over_a_filled_gap) {
  const std::vector<LockSpan> two{{{0, 9}, kShared}, {{20, 29}, kShared}};
  EXPECT_THAT(with_span(two, {10, 19}, kShared), ElementsAre(LockSpan{{0, 29}, kShared}));
}

TEST(lock_span, swallows_what_lies_within) {
  const std::vector<LockSpan> two{{{1, 2}, kShared}, {{5, 6}, kExclusive}};
  EXPECT_THAT(with_span(two, {0, 9}, kExclusive), ElementsAre(LockSpan{{0, 9}, kExclusive}));
}

TEST(lock_span, upgrades_the_middle) {
  EXPECT_THAT(with_span(kOne, {13, 15}, kExclusive),
              ElementsAre(LockSpan{{10, 12}, kShared}, LockSpan{{13, 15}, kExclusive},
                          LockSpan{{16, 19}, kShared}));
}

TEST(lock_span, same_mode_within_changes_nothing) {
  EXPECT_THAT(with_span(kOne, {13, 15}, kShared), ElementsAre(LockSpan{{10, 19}, kShared}));
}

TEST(lock_span, unlocking_the_middle_cuts_in_two) {
  EXPECT_THAT(with_span(kOne, {13, 15}, std::nullopt),
              ElementsAre(LockSpan{{10, 12}, kShared}, LockSpan{{16, 19}, kShared}));
}

TEST(lock_span, unlocking_an_edge_shortens) {
  EXPECT_THAT(with_span(kOne, {0, 10}, std::nullopt), ElementsAre(LockSpan{{11, 19}, kShared}));
  EXPECT_THAT(with_span(kOne, {19, 30}, std::nullopt), ElementsAre(LockSpan{{10, 18}, kShared}));
}

TEST(lock_span, unlocking_all_leaves_nothing) {
  EXPECT_THAT(with_span(kOne, {}, std::nullopt), IsEmpty());
  EXPECT_THAT(with_span({}, {}, std::nullopt), IsEmpty());
}

TEST(lock_span, reaches_the_last_byte) {
  EXPECT_THAT(with_span(kOne, {15, kLastByte}, kExclusive),
              ElementsAre(LockSpan{{10, 14}, kShared}, LockSpan{{15, kLastByte}, kExclusive}));
  const std::vector<LockSpan> all{{{0, kLastByte}, kShared}};
  EXPECT_THAT(with_span(all, {kLastByte, kLastByte}, std::nullopt),
              ElementsAre(LockSpan{{0, kLastByte - 1}, kShared}));
  EXPECT_THAT(with_span(all, {0, 0}, std::nullopt), ElementsAre(LockSpan{{1, kLastByte}, kShared}));
}

}  // namespace
}  // namespace flowfs::fs
