// SPDX-License-Identifier: BSD-3-Clause
#include "bus/ethernet.hpp"

#include <gtest/gtest.h>

#include "frames.hpp"

namespace flowfs::bus {
namespace {

using test::after;
using test::frame;
using test::station;

constexpr Edit kRemove{Edit::Kind::tag_removed, 0};

TEST(Ethernet, reads_addresses_and_no_tag) {
  const auto header = parse_frame(frame(test::kBroadcast, station(7)));
  ASSERT_TRUE(header);
  EXPECT_EQ(to_string(header->destination), "ff:ff:ff:ff:ff:ff");
  EXPECT_EQ(to_string(header->source), "02:00:00:00:00:07");
  EXPECT_EQ(header->tci, std::nullopt);
}

TEST(Ethernet, reads_the_outermost_tag_only) {
  const auto header = parse_frame(frame(station(1), station(2), {0x6064, 20}));
  ASSERT_TRUE(header);
  EXPECT_EQ(header->tci, 0x6064);
  EXPECT_EQ(vlan_of(*header->tci), VlanId{100});
}

TEST(Ethernet, does_not_look_into_a_service_tag) {
  auto bytes = frame(station(1), station(2), {20});
  bytes[12] = std::byte{0x88};
  bytes[13] = std::byte{0xa8};
  const auto header = parse_frame(bytes);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->tci, std::nullopt);
  EXPECT_EQ(after(bytes, kRemove), bytes);
}

TEST(Ethernet, takes_nothing_that_ends_inside_its_header) {
  const auto plain = frame(station(1), station(2), {}, 0);
  const auto tagged = frame(station(1), station(2), {10}, 0);
  for (std::size_t bytes = 0; bytes < plain.size(); ++bytes) {
    EXPECT_FALSE(parse_frame(std::span(plain).first(bytes))) << bytes;
  }
  EXPECT_TRUE(parse_frame(plain));
  for (std::size_t bytes = 0; bytes < tagged.size(); ++bytes) {
    EXPECT_FALSE(parse_frame(std::span(tagged).first(bytes))) << bytes;
  }
  EXPECT_TRUE(parse_frame(tagged));
}

TEST(Ethernet, tells_groups_from_stations) {
  EXPECT_TRUE(is_group(test::kBroadcast));
  EXPECT_TRUE(is_group(MacAddress{0x01005e000001}));
  EXPECT_FALSE(is_group(station(1)));
}

TEST(Ethernet, adds_removes_and_replaces_a_tag) {
  const auto plain = frame(station(1), station(2));
  const auto ten = frame(station(1), station(2), {10});
  const auto twenty = frame(station(1), station(2), {20});
  EXPECT_EQ(after(plain, {Edit::Kind::tag_added, 10}), ten);
  EXPECT_EQ(after(ten, kRemove), plain);
  EXPECT_EQ(after(ten, {Edit::Kind::tag_replaced, 20}), twenty);
  EXPECT_EQ(after(ten, {}), ten);
}

TEST(Ethernet, edits_the_outermost_of_two_tags) {
  const auto two = frame(station(1), station(2), {10, 20});
  EXPECT_EQ(after(two, kRemove), frame(station(1), station(2), {20}));
  EXPECT_EQ(after(two, {Edit::Kind::tag_added, 5}), frame(station(1), station(2), {5, 10, 20}));
}

TEST(Ethernet, leaves_alone_what_an_edit_does_not_fit) {
  const auto plain = frame(station(1), station(2));
  EXPECT_EQ(after(plain, kRemove), plain);
  EXPECT_EQ(after(plain, {Edit::Kind::tag_replaced, 10}), plain);
  const auto runt = std::span(plain).first(13);
  EXPECT_EQ(after(runt, {Edit::Kind::tag_added, 10}).size(), runt.size());
}

TEST(Ethernet, names_every_reason_to_drop_a_frame) {
  EXPECT_STREQ(to_string(Drop::none), "none");
  EXPECT_STREQ(to_string(Drop::wrong_vlan), "wrong-vlan");
  EXPECT_STREQ(to_string(Drop::looped), "looped");
}

}  // namespace
}  // namespace flowfs::bus
