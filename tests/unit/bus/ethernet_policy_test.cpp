// SPDX-License-Identifier: BSD-3-Clause
#include "bus/ethernet_policy.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "frames.hpp"

namespace flowfs::bus {
namespace {

using test::frame;
using test::station;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t kMost = 1518;
constexpr Instant kStart{std::chrono::hours(1)};

PortNumber port(unsigned number) { return PortNumber{number}; }

// Ports 1 to 4, and what one of them sends.
template <typename P>
class Bus {
 public:
  Bus() {
    for (unsigned number = 1; number <= 4; ++number) {
      policy.join(port(number));
    }
  }

  std::vector<unsigned> send(unsigned from, std::span<const std::byte> bytes,
                             Instant now = kStart) {
    policy.decide(port(from), bytes, now, decision);
    std::vector<unsigned> to;
    for (const Delivery& delivery : decision.deliveries()) {
      to.push_back(static_cast<unsigned>(delivery.port));
    }
    EXPECT_EQ(to.empty(), decision.drop() != Drop::none);
    return to;
  }

  void set_vlans(unsigned number, std::string_view text) {
    EXPECT_TRUE(policy.set_vlans(port(number), PortVlans::parse(text).value()));
  }

  P policy{kMost};
  Decision decision;
};

using Switch = Bus<SwitchPolicy>;
using Hub = Bus<HubPolicy>;

TEST(SwitchPolicy, floods_for_a_station_it_does_not_know_and_then_knows_it) {
  Switch bus;
  EXPECT_THAT(bus.send(1, frame(station(2), station(1))), ElementsAre(2, 3, 4));
  EXPECT_THAT(bus.send(2, frame(station(1), station(2))), ElementsAre(1));
  EXPECT_THAT(bus.send(1, frame(station(2), station(1))), ElementsAre(2));
}

TEST(SwitchPolicy, floods_groups_always) {
  Switch bus;
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(bus.send(1, frame(test::kBroadcast, station(1))), ElementsAre(2, 3, 4));
  }
}

TEST(SwitchPolicy, does_not_send_back_where_the_destination_is) {
  Switch bus;
  bus.send(1, frame(test::kBroadcast, station(1)));
  bus.send(1, frame(test::kBroadcast, station(2)));
  EXPECT_THAT(bus.send(1, frame(station(2), station(1))), IsEmpty());
  EXPECT_EQ(bus.decision.drop(), Drop::same_port);
}

TEST(SwitchPolicy, floods_again_when_the_port_has_left_or_the_station_is_old) {
  Switch bus;
  bus.send(2, frame(test::kBroadcast, station(2)));
  EXPECT_THAT(bus.send(1, frame(station(2), station(1))), ElementsAre(2));
  EXPECT_THAT(bus.send(1, frame(station(2), station(1)), kStart + std::chrono::seconds(300)),
              ElementsAre(2, 3, 4));
  bus.send(2, frame(test::kBroadcast, station(2)));
  bus.policy.leave(port(2));
  EXPECT_THAT(bus.send(1, frame(station(2), station(1))), ElementsAre(3, 4));
}

TEST(SwitchPolicy, refuses_runts_oversize_and_sources_that_are_groups) {
  Switch bus;
  const auto plain = frame(station(2), station(1), {}, kMost);
  EXPECT_THAT(bus.send(1, std::span(plain).first(13)), IsEmpty());
  EXPECT_EQ(bus.decision.drop(), Drop::runt);
  bus.send(1, {});
  EXPECT_EQ(bus.decision.drop(), Drop::runt);
  EXPECT_THAT(bus.send(1, std::span(plain).first(kMost + 1)), IsEmpty());
  EXPECT_EQ(bus.decision.drop(), Drop::oversize);
  EXPECT_THAT(bus.send(1, std::span(plain).first(kMost)), ElementsAre(2, 3, 4));
  EXPECT_THAT(bus.send(1, frame(station(2), test::kBroadcast)), IsEmpty());
  EXPECT_EQ(bus.decision.drop(), Drop::bad_source);
}

TEST(SwitchPolicy, drops_where_nobody_is_there) {
  SwitchPolicy policy(kMost);
  Decision decision;
  policy.join(port(1));
  policy.decide(port(1), frame(test::kBroadcast, station(1)), kStart, decision);
  EXPECT_EQ(decision.drop(), Drop::nobody);
  policy.decide(port(9), frame(test::kBroadcast, station(1)), kStart, decision);
  EXPECT_EQ(decision.drop(), Drop::nobody);
}

TEST(SwitchPolicy, joining_twice_and_leaving_unknown_change_nothing) {
  Switch bus;
  bus.set_vlans(1, "access 10");
  bus.policy.join(port(1));
  bus.policy.leave(port(9));
  EXPECT_EQ(bus.policy.vlans(port(1))->text(), "access 10");
  EXPECT_EQ(bus.policy.vlans(port(9)), nullptr);
  EXPECT_FALSE(bus.policy.set_vlans(port(9), PortVlans()));
}

TEST(SwitchPolicy, keeps_vlans_apart) {
  Switch bus;
  bus.set_vlans(1, "access 10");
  bus.set_vlans(2, "access 20");
  bus.set_vlans(3, "access 10");
  bus.set_vlans(4, "trunk 10,30");
  EXPECT_THAT(bus.send(1, frame(test::kBroadcast, station(1))), ElementsAre(3, 4));
  EXPECT_EQ(bus.decision.deliveries()[0].edit, Edit{});
  EXPECT_EQ(bus.decision.deliveries()[1].edit, (Edit{Edit::Kind::tag_added, 10}));
  EXPECT_THAT(bus.send(4, frame(station(1), station(4), {10})), ElementsAre(1));
  EXPECT_EQ(bus.decision.deliveries()[0].edit.kind, Edit::Kind::tag_removed);
  EXPECT_THAT(bus.send(4, frame(test::kBroadcast, station(4), {30})), IsEmpty());
  EXPECT_EQ(bus.decision.drop(), Drop::nobody);
  EXPECT_THAT(bus.send(4, frame(test::kBroadcast, station(4), {20})), IsEmpty());
  EXPECT_EQ(bus.decision.drop(), Drop::wrong_vlan);
  EXPECT_THAT(bus.send(2, frame(test::kBroadcast, station(2), {20})), IsEmpty());
  EXPECT_EQ(bus.decision.drop(), Drop::wrong_vlan);
}

TEST(SwitchPolicy, forgets_what_was_behind_a_port_whose_vlans_change) {
  Switch bus;
  bus.send(2, frame(test::kBroadcast, station(2)));
  bus.set_vlans(2, "access 10");
  EXPECT_THAT(bus.send(1, frame(station(2), station(1))), ElementsAre(3, 4));
}

TEST(SwitchPolicy, passes_two_tags) {
  Switch bus;
  bus.set_vlans(1, "access 10");
  const auto two = frame(test::kBroadcast, station(2), {10, 20});
  EXPECT_THAT(bus.send(2, two), ElementsAre(1, 3, 4));
  EXPECT_EQ(test::after(two, bus.decision.deliveries()[0].edit),
            frame(test::kBroadcast, station(2), {20}));
  EXPECT_EQ(bus.decision.deliveries()[1].edit, Edit{});
}

TEST(HubPolicy, sends_everything_to_every_other_port) {
  Hub bus;
  bus.send(2, frame(test::kBroadcast, station(2)));
  EXPECT_THAT(bus.send(1, frame(station(2), station(1))), ElementsAre(2, 3, 4));
  bus.policy.leave(port(3));
  EXPECT_THAT(bus.send(1, frame(station(2), station(1))), ElementsAre(2, 4));
}

TEST(HubPolicy, keeps_vlans_apart) {
  Hub bus;
  bus.set_vlans(1, "access 10");
  bus.set_vlans(2, "access 10");
  EXPECT_THAT(bus.send(1, frame(station(9), station(1))), ElementsAre(2, 3, 4));
  EXPECT_THAT(bus.send(3, frame(station(9), station(1))), ElementsAre(4));
}

// Two buses with cables between them: what goes out of port i of one comes in at port i of the
// other. Returns how many frames the two decided on until none was left under way.
class Cabled {
 public:
  static constexpr unsigned kMostFrames = 10'000;

  explicit Cabled(std::set<unsigned> cables) : cables_(std::move(cables)) {}

  unsigned send(unsigned from, const test::Frame& bytes) {
    struct Arrival {
      unsigned bus;
      unsigned port;
    };
    std::vector<Arrival> under_way{{0, from}};
    unsigned count = 0;
    for (std::size_t i = 0; i < under_way.size() && count < kMostFrames; ++i, ++count) {
      const auto [at, number] = under_way[i];
      Switch& bus = buses[at];
      for (const unsigned to : bus.send(number, bytes)) {
        if (cables_.contains(to)) {
          under_way.push_back({1 - at, to});
        }
      }
      if (const auto closed = bus.decision.newly_shut()) {
        shut.emplace(at, static_cast<unsigned>(*closed));
      }
    }
    return count;
  }

  std::array<Switch, 2> buses;
  std::set<std::pair<unsigned, unsigned>> shut;  // bus, port

 private:
  std::set<unsigned> cables_;
};

TEST(EthernetPolicy, one_cable_between_two_buses_is_no_loop) {
  Cabled pair({2});
  for (unsigned i = 0; i < 100; ++i) {
    EXPECT_EQ(pair.send(1, frame(test::kBroadcast, station(1))), 2U);
  }
  EXPECT_THAT(pair.shut, IsEmpty());
}

TEST(EthernetPolicy, shuts_the_newer_of_two_cables_between_the_same_buses) {
  Cabled pair({2, 3});
  EXPECT_LT(pair.send(1, frame(test::kBroadcast, station(1))), 100U);
  EXPECT_THAT(pair.shut, ElementsAre(testing::Pair(testing::_, 3)));
  const unsigned bus = pair.shut.begin()->first;
  EXPECT_TRUE(pair.buses[bus].policy.is_shut(port(3)));
  EXPECT_FALSE(pair.buses[bus].policy.is_shut(port(2)));
  // The bus next door may still send into the port that is shut, and learns so.
  EXPECT_LE(pair.send(1, frame(test::kBroadcast, station(1), {}, 100)), 3U);
  EXPECT_EQ(pair.shut.size(), 1U);
}

TEST(EthernetPolicy, breaks_three_cables_too) {
  Cabled pair({2, 3, 4});
  EXPECT_LT(pair.send(1, frame(test::kBroadcast, station(1))), Cabled::kMostFrames);
  EXPECT_GE(pair.shut.size(), 2U);
  EXPECT_FALSE(pair.buses[0].policy.is_shut(port(2)));
  EXPECT_FALSE(pair.buses[1].policy.is_shut(port(2)));
}

TEST(EthernetPolicy, a_cable_from_a_bus_to_itself_is_a_loop) {
  Switch bus;
  std::vector<unsigned> under_way{1};
  std::optional<PortNumber> shut;
  const auto bytes = frame(test::kBroadcast, station(1));
  std::size_t count = 0;
  for (; count < under_way.size() && count < 1000; ++count) {
    for (const unsigned to : bus.send(under_way[count], bytes)) {
      if (to >= 3) {  // 3 and 4 are the two ends
        under_way.push_back(7 - to);
      }
    }
    shut = bus.decision.newly_shut() ? bus.decision.newly_shut() : shut;
  }
  EXPECT_EQ(shut, port(4));
  EXPECT_LT(count, 100U);
}

TEST(EthernetPolicy, a_port_that_was_shut_is_new_when_it_joins_again) {
  Cabled pair({2, 3});
  pair.send(1, frame(test::kBroadcast, station(1)));
  ASSERT_EQ(pair.shut.size(), 1U);
  Switch& bus = pair.buses[pair.shut.begin()->first];
  EXPECT_THAT(bus.send(3, frame(test::kBroadcast, station(3))), IsEmpty());
  EXPECT_EQ(bus.decision.drop(), Drop::looped);
  bus.policy.leave(port(3));
  bus.policy.join(port(3));
  EXPECT_THAT(bus.send(3, frame(test::kBroadcast, station(3))), ElementsAre(1, 2, 4));
}

TEST(EthernetPolicy, nobody_can_have_another_port_shut_by_repeating_its_frames) {
  Switch bus;
  for (unsigned i = 0; i < 100; ++i) {
    const auto bytes = frame(test::kBroadcast, station(4), {}, 46 + i);
    bus.send(4, bytes);
    for (unsigned again = 0; again < 50; ++again) {
      bus.send(1, bytes);
      EXPECT_EQ(bus.decision.newly_shut(), std::nullopt);
    }
  }
}

TEST(EthernetPolicy, the_same_frame_from_two_ports_now_and_then_is_no_loop) {
  Switch bus;
  const auto bytes = frame(test::kBroadcast, station(4));
  for (unsigned i = 0; i < 100; ++i) {
    bus.send(1 + i % 2, bytes, kStart + i * std::chrono::milliseconds(300));
    EXPECT_EQ(bus.decision.newly_shut(), std::nullopt);
  }
}

}  // namespace
}  // namespace flowfs::bus
