// SPDX-License-Identifier: BSD-3-Clause
#include "pool/bell.hpp"

#include <gtest/gtest.h>

#include "lane_fixture.hpp"

namespace flowfs::pool {
namespace {

struct Ends {
  test::Memory one{FLOWFS_SEGMENT_HEADER_BYTES};
  test::Memory two{FLOWFS_SEGMENT_HEADER_BYTES};
};

TEST(Bell, does_not_ring_for_a_peer_that_is_awake) {
  Ends ends;
  Bell bell(ends.one.header(), ends.two.header());
  EXPECT_FALSE(bell.wake_data());
  EXPECT_FALSE(bell.wake_room());
  EXPECT_EQ(ends.one.header().bell, 0U);
}

TEST(Bell, rings_once_for_each_sleep) {
  Ends ends;
  Bell bell(ends.one.header(), ends.two.header());
  Sleeper sleeper(ends.two.header().sleep_data);
  for (int sleep = 0; sleep < 3; ++sleep) {
    const std::uint32_t seen = sleeper.begin(ends.one.header().bell);
    EXPECT_TRUE(bell.wake_data());
    EXPECT_FALSE(bell.wake_data()) << "a storm";
    EXPECT_NE(ends.one.header().bell, seen) << "the sleeper would not have woken";
    sleeper.end();
    EXPECT_FALSE(bell.wake_data());
  }
}

TEST(Bell, keeps_data_and_room_apart) {
  Ends ends;
  Bell bell(ends.one.header(), ends.two.header());
  Sleeper room(ends.two.header().sleep_room);
  (void)room.begin(ends.one.header().bell);
  EXPECT_FALSE(bell.wake_data());
  EXPECT_TRUE(bell.wake_room());
}

TEST(Sleeper, takes_over_from_one_that_died_asleep) {
  Ends ends;
  ends.two.header().sleep_data = 7;
  Sleeper sleeper(ends.two.header().sleep_data);
  (void)sleeper.begin(ends.one.header().bell);
  EXPECT_EQ(ends.two.header().sleep_data, 9U) << "a new epoch, not one already rung";
  sleeper.end();
  EXPECT_EQ(ends.two.header().sleep_data, 10U);
  sleeper.end();
  EXPECT_EQ(ends.two.header().sleep_data, 10U);
}

}  // namespace
}  // namespace flowfs::pool
