// SPDX-License-Identifier: BSD-3-Clause
#include "fs/apart_tally.hpp"

#include <gtest/gtest.h>

#include <random>
#include <utility>

namespace flowfs::fs {
namespace {

using Said = ApartTally::Said;

TEST(ApartTally, counts_what_was_read_and_what_was_lost) {
  ApartTally tally({.generation = 2, .sequence = 10});
  EXPECT_EQ(tally.count(10, {}).lag, 0U);
  bus::PortCounts change = tally.count(
      15, Said{.generation = 2, .sequence = 14, .present = {.lost = 1, .bytes = 30}, .former = {}});
  EXPECT_EQ(change.lag, 5U);
  EXPECT_EQ(change.delivered, 3U);
  EXPECT_EQ(change.delivered_bytes, 30U);
  EXPECT_EQ(change.dropped, 1U);
  EXPECT_FALSE(tally.has_read_all());
  change = tally.count(
      15, Said{.generation = 2, .sequence = 15, .present = {.lost = 1, .bytes = 40}, .former = {}});
  EXPECT_EQ(change.lag, 0U);
  EXPECT_EQ(change.delivered, 1U);
  EXPECT_TRUE(tally.has_read_all());
}

TEST(ApartTally, owes_what_the_log_before_still_had) {
  ApartTally tally({.generation = 2, .messages = 3, .bytes = 30});
  EXPECT_EQ(tally.count(2, Said{.generation = 1, .sequence = 99}).lag, 5U);
  EXPECT_FALSE(tally.has_read_all());
  const bus::PortCounts change =
      tally.count(2, Said{.generation = 2, .sequence = 0, .former = {.lost = 0, .bytes = 30}});
  EXPECT_EQ(change.delivered, 3U);
  EXPECT_EQ(change.delivered_bytes, 30U);
}

// Whoever did not even map it lost all that it had still to read there.
TEST(ApartTally, was_not_delivered_what_it_lost_of_the_log_before) {
  for (const auto& [said, dropped] :
       {std::pair<std::uint64_t, std::uint64_t>{7, 0}, {5, 0}, {9, 2}, {UINT64_MAX, 3}}) {
    ApartTally tally(
        {.generation = 2, .messages = 3, .bytes = 30, .told = {.lost = 7, .bytes = 5}});
    const Said over{.generation = 2,
                    .sequence = 2,
                    .present = {.lost = 1, .bytes = 10},
                    .former = {.lost = said, .bytes = 20}};
    const bus::PortCounts change = tally.count(4, over);
    EXPECT_EQ(change.dropped, dropped + 1);
    EXPECT_EQ(change.delivered, 4 - dropped);
    EXPECT_EQ(change.delivered_bytes, 25U);
    EXPECT_EQ(tally.count(4, over).dropped, 0U);
    const Said next{
        .generation = 3, .sequence = 0, .present = {}, .former = {.lost = 2, .bytes = 20}};
    EXPECT_EQ(tally.count(4, next).dropped, 1U);
    EXPECT_TRUE(tally.has_read_all());
  }
}

TEST(ApartTally, believes_what_was_said_of_a_log_when_it_was_left) {
  ApartTally tally({.generation = 2});
  const bus::PortCounts change = tally.count(7, Said{.generation = 3,
                                                     .sequence = 1,
                                                     .present = {.lost = 50, .bytes = 50},
                                                     .former = {.lost = 2, .bytes = 20}});
  EXPECT_EQ(change.dropped, 2U);
  EXPECT_EQ(change.delivered, 5U);
  EXPECT_EQ(change.delivered_bytes, 20U);
  EXPECT_TRUE(tally.has_read_all());
}

TEST(ApartTally, has_not_begun_where_any_record_may_be_the_first) {
  ApartTally tally({.generation = 2, .sequence = 4});
  EXPECT_EQ(tally.count(9, Said{.generation = 2, .sequence = FLOWFS_SEQUENCE_ANY}).delivered, 0U);
  EXPECT_EQ(tally.count(9, Said{.generation = 2, .sequence = 3}).delivered, 0U);
}

// Whatever is said: nothing goes back, and no more is gone than was sent.
TEST(ApartTally, is_never_led_beyond_what_was_sent) {
  std::mt19937_64 random{3};
  const auto word = [&] { return random() % 3 == 0 ? random() : random() % 20; };
  for (int round = 0; round < 200; ++round) {
    ApartTally tally({.generation = word(), .sequence = random() % 20, .messages = random() % 20});
    std::uint64_t due = 0;
    std::uint64_t gone = 0;
    for (int step = 0; step < 50; ++step) {
      const Said said{.generation = word(),
                      .sequence = word(),
                      .present = {.lost = word(), .bytes = word()},
                      .former = {.lost = word(), .bytes = word()}};
      const bus::PortCounts change = tally.count(random() % 40, said);
      ASSERT_LT(change.lag, 100U);
      ASSERT_LT(change.delivered, 100U);
      ASSERT_LT(change.dropped, 100U);
      due += change.lag;
      gone += change.delivered + change.dropped;
      ASSERT_LE(gone, due);
      ASSERT_EQ(tally.has_read_all(), gone == due);
    }
  }
}

}  // namespace
}  // namespace flowfs::fs
