// SPDX-License-Identifier: BSD-3-Clause
#include "bus/mac_table.hpp"

#include <gtest/gtest.h>

#include "frames.hpp"

namespace flowfs::bus {
namespace {

using test::station;
using Learnt = MacTable::Learnt;

constexpr PortNumber kOne{1};
constexpr PortNumber kTwo{2};
constexpr PortNumber kThree{3};
constexpr Instant kStart{std::chrono::hours(1)};
constexpr MacTable::Limits kSmall{.most = 8, .most_of_port = 4, .age = std::chrono::seconds(300)};

Instant at(unsigned seconds) { return kStart + std::chrono::seconds(seconds); }

TEST(MacTable, finds_a_station_where_it_was_heard) {
  MacTable table(kSmall);
  EXPECT_EQ(table.find(station(1), kNoVlan, kStart), std::nullopt);
  EXPECT_EQ(table.learn(station(1), kNoVlan, kOne, kStart), Learnt::added);
  EXPECT_EQ(table.learn(station(1), kNoVlan, kOne, kStart), Learnt::known);
  EXPECT_EQ(table.find(station(1), kNoVlan, kStart), kOne);
}

TEST(MacTable, learns_for_each_vlan_by_itself) {
  MacTable table(kSmall);
  table.learn(station(1), VlanId{10}, kOne, kStart);
  table.learn(station(1), VlanId{20}, kTwo, kStart);
  EXPECT_EQ(table.find(station(1), VlanId{10}, kStart), kOne);
  EXPECT_EQ(table.find(station(1), VlanId{20}, kStart), kTwo);
  EXPECT_EQ(table.find(station(1), VlanId{30}, kStart), std::nullopt);
  EXPECT_EQ(table.moves(), 0U);
}

TEST(MacTable, counts_a_station_that_moves) {
  MacTable table(kSmall);
  table.learn(station(1), kNoVlan, kOne, kStart);
  EXPECT_EQ(table.learn(station(1), kNoVlan, kTwo, at(1)), Learnt::moved);
  EXPECT_EQ(table.find(station(1), kNoVlan, at(1)), kTwo);
  EXPECT_EQ(table.moves(), 1U);
  EXPECT_EQ(table.size(), 1U);
}

TEST(MacTable, never_enters_a_group) {
  MacTable table(kSmall);
  EXPECT_EQ(table.learn(test::kBroadcast, kNoVlan, kOne, kStart), Learnt::full);
  EXPECT_EQ(table.size(), 0U);
}

TEST(MacTable, forgets_a_station_not_heard_for_its_age) {
  MacTable table(kSmall);
  table.learn(station(1), kNoVlan, kOne, kStart);
  EXPECT_EQ(table.find(station(1), kNoVlan, at(299)), kOne);
  EXPECT_EQ(table.find(station(1), kNoVlan, at(300)), std::nullopt);
  EXPECT_TRUE(table.stations(at(300)).empty());
  table.learn(station(1), kNoVlan, kOne, at(200));
  EXPECT_EQ(table.find(station(1), kNoVlan, at(499)), kOne);
}

TEST(MacTable, takes_another_age_at_once) {
  MacTable table(kSmall);
  table.learn(station(1), kNoVlan, kOne, kStart);
  table.set_age(std::chrono::seconds(10));
  EXPECT_EQ(table.find(station(1), kNoVlan, at(10)), std::nullopt);
}

TEST(MacTable, gives_up_the_oldest_of_a_port_that_shows_too_many) {
  MacTable table(kSmall);
  table.learn(station(100), kNoVlan, kTwo, kStart);
  for (unsigned i = 0; i < 6; ++i) {
    table.learn(station(i), kNoVlan, kOne, at(i));
  }
  EXPECT_EQ(table.size(), 5U);
  EXPECT_EQ(table.find(station(1), kNoVlan, at(6)), std::nullopt);
  EXPECT_EQ(table.find(station(2), kNoVlan, at(6)), kOne);
  EXPECT_EQ(table.find(station(100), kNoVlan, at(6)), kTwo);
}

TEST(MacTable, keeps_of_a_port_what_was_heard_last) {
  MacTable table(kSmall);
  for (unsigned i = 0; i < 4; ++i) {
    table.learn(station(i), kNoVlan, kOne, at(i));
  }
  table.learn(station(0), kNoVlan, kOne, at(5));
  table.learn(station(9), kNoVlan, kOne, at(6));
  EXPECT_EQ(table.find(station(0), kNoVlan, at(6)), kOne);
  EXPECT_EQ(table.find(station(1), kNoVlan, at(6)), std::nullopt);
}

TEST(MacTable, a_full_table_has_no_room_for_a_new_port_until_something_ages) {
  MacTable table(kSmall);
  for (unsigned i = 0; i < 4; ++i) {
    table.learn(station(i), kNoVlan, kOne, kStart);
    table.learn(station(10 + i), kNoVlan, kTwo, at(100));
  }
  EXPECT_EQ(table.learn(station(50), kNoVlan, kThree, at(200)), Learnt::full);
  EXPECT_EQ(table.find(station(50), kNoVlan, at(200)), std::nullopt);
  EXPECT_EQ(table.learn(station(50), kNoVlan, kThree, at(300)), Learnt::added);
  EXPECT_EQ(table.size(), 5U);
}

TEST(MacTable, forgets_what_was_behind_a_port) {
  MacTable table(kSmall);
  table.learn(station(1), kNoVlan, kOne, kStart);
  table.learn(station(2), VlanId{5}, kOne, kStart);
  table.learn(station(3), kNoVlan, kTwo, kStart);
  table.forget(kOne);
  EXPECT_EQ(table.size(), 1U);
  EXPECT_EQ(table.find(station(1), kNoVlan, kStart), std::nullopt);
  EXPECT_EQ(table.find(station(3), kNoVlan, kStart), kTwo);
}

TEST(MacTable, lists_stations_by_vlan_and_address) {
  MacTable table(kSmall);
  table.learn(station(2), VlanId{10}, kOne, kStart);
  table.learn(station(1), VlanId{10}, kTwo, at(1));
  table.learn(station(3), kNoVlan, kOne, at(2));
  const auto stations = table.stations(at(3));
  ASSERT_EQ(stations.size(), 3U);
  EXPECT_EQ(stations[0].address, station(3));
  EXPECT_EQ(stations[1].address, station(1));
  EXPECT_EQ(stations[1].port, kTwo);
  EXPECT_EQ(stations[1].heard, at(1));
  EXPECT_EQ(stations[2].address, station(2));
  EXPECT_EQ(stations[2].vlan, VlanId{10});
}

}  // namespace
}  // namespace flowfs::bus
