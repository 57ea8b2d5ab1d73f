// SPDX-License-Identifier: BSD-3-Clause
#include "bus/vlan.hpp"

#include <gtest/gtest.h>

#include <string>

namespace flowfs::bus {
namespace {

PortVlans vlans(std::string_view text) {
  const auto parsed = PortVlans::parse(text);
  EXPECT_TRUE(parsed) << text;
  return parsed.value_or(PortVlans());
}

int error_of(std::string_view text) {
  const auto parsed = PortVlans::parse(text);
  return parsed ? 0 : parsed.error().error;
}

TEST(PortVlans, prints_what_it_parses) {
  for (const char* text : {"any", "access 1", "access 4094", "trunk 10", "trunk 10,20",
                           "trunk 1-4094", "trunk 3-5,7,4093-4094"}) {
    EXPECT_EQ(vlans(text).text(), text);
  }
}

TEST(PortVlans, prints_a_trunk_in_order_and_shortest) {
  EXPECT_EQ(vlans("trunk 20,10,11,12,20").text(), "trunk 10-12,20");
  EXPECT_EQ(vlans("trunk 5-9,1-6").text(), "trunk 1-9");
}

TEST(PortVlans, refuses_what_it_cannot_read) {
  for (const char* text :
       {"", "access", "access ", "access ten", "access 10,20", "access 1 2", "trunk", "trunk ",
        "trunk 10,", "trunk ,10", "trunk 10-", "trunk -10", "trunk 20-10", "trunk 10, 20", "any 10",
        "access +1", "ACCESS 10", "access 0x10", "native 1"}) {
    EXPECT_EQ(error_of(text), EINVAL) << text;
  }
  for (const char* text :
       {"access 0", "access 4095", "access 99999999999999999999", "trunk 0-5", "trunk 4000-4095"}) {
    EXPECT_EQ(error_of(text), ERANGE) << text;
  }
}

TEST(PortVlans, any_takes_and_gives_every_frame_as_it_is) {
  const PortVlans any;
  EXPECT_EQ(any.takes(std::nullopt), kNoVlan);
  EXPECT_EQ(any.takes(0x2005), VlanId{5});
  EXPECT_EQ(any.gives(kNoVlan, std::nullopt), Edit{});
  EXPECT_EQ(any.gives(kNoVlan, 0x6000), Edit{});
  EXPECT_EQ(any.gives(VlanId{5}, 0x2005), Edit{});
}

TEST(PortVlans, access_takes_what_has_no_vlan_and_gives_its_own_untagged) {
  const PortVlans access = vlans("access 10");
  EXPECT_EQ(access.takes(std::nullopt), VlanId{10});
  EXPECT_EQ(access.takes(0xe000), VlanId{10});  // only a priority
  EXPECT_EQ(access.takes(10), std::nullopt);
  EXPECT_EQ(access.takes(20), std::nullopt);
  EXPECT_EQ(access.gives(VlanId{10}, std::nullopt), Edit{});
  EXPECT_EQ(access.gives(VlanId{10}, 10)->kind, Edit::Kind::tag_removed);
  EXPECT_EQ(access.gives(VlanId{20}, 20), std::nullopt);
  EXPECT_EQ(access.gives(kNoVlan, std::nullopt), std::nullopt);
}

TEST(PortVlans, trunk_takes_and_gives_tagged_frames_of_its_vlans) {
  const PortVlans trunk = vlans("trunk 10,20");
  EXPECT_EQ(trunk.takes(0x600a), VlanId{10});
  EXPECT_EQ(trunk.takes(30), std::nullopt);
  EXPECT_EQ(trunk.takes(std::nullopt), std::nullopt);
  EXPECT_EQ(trunk.takes(0x6000), std::nullopt);
  EXPECT_EQ(trunk.gives(VlanId{10}, 0x600a), Edit{});
  EXPECT_EQ(trunk.gives(VlanId{30}, 30), std::nullopt);
  EXPECT_EQ(trunk.gives(kNoVlan, std::nullopt), std::nullopt);
}

TEST(PortVlans, tags_what_came_from_an_access_port) {
  for (const PortVlans& port : {vlans("trunk 10,20"), PortVlans()}) {
    EXPECT_EQ(port.gives(VlanId{10}, std::nullopt), (Edit{Edit::Kind::tag_added, 10}));
    EXPECT_EQ(port.gives(VlanId{10}, 0xe000), (Edit{Edit::Kind::tag_replaced, 0xe00a}));
  }
}

}  // namespace
}  // namespace flowfs::bus
