// SPDX-License-Identifier: BSD-3-Clause
#include "registry/buses.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <string>
#include <vector>

namespace flowfs::registry {
namespace {

constexpr Opener kAlice{1001, 1001, 7};
constexpr Opener kBob{1002, 1002, 8};
constexpr Rights kBoth{.receive = true, .send = true};
constexpr Rights kReads{.receive = true, .send = false};

class BusesTest : public ::testing::Test {
 protected:
  BusId make(std::string_view name, const BusSettings& settings = {}) {
    return buses.create(name, kAlice, settings).value();
  }
  PortId join(BusId bus, Opener who = kAlice, Rights rights = kBoth) {
    return buses.join(bus, who, rights, now).value();
  }
  std::vector<std::string> events() {
    std::vector<std::string> lines;
    for (const Buses::BusEvent& one : buses.take_events()) {
      lines.push_back(std::string(to_string(one.event.kind)) + " " + one.event.object + " " +
                      one.event.detail);
    }
    return lines;
  }
  void TearDown() override { EXPECT_EQ(buses.check_invariants(), ""); }

  Users users{Users::Config::defaults()};
  Buses buses{users};
  Instant now{};
};

TEST_F(BusesTest, a_bus_has_a_good_name_of_its_own) {
  make("chat");
  EXPECT_EQ(buses.create("chat", kBob).error().error, EEXIST);
  EXPECT_EQ(buses.create(".chat", kBob).error().error, EINVAL);
  EXPECT_EQ(buses.create("a b", kBob).error().error, EINVAL);
  EXPECT_EQ(buses.create(std::string(256, 'a'), kBob).error().error, ENAMETOOLONG);
  EXPECT_EQ(users.used(kBob.uid, Resource::buses), 0U);
}

TEST_F(BusesTest, a_declared_bus_belongs_to_its_owner_and_is_paid_by_root) {
  const BusId id = buses.declare("log", kAlice.uid, {}).value();
  EXPECT_EQ(buses.find(id)->owner, kAlice.uid);
  EXPECT_EQ(buses.find(id)->payer, 0U);
  EXPECT_EQ(users.used(0, Resource::buses), 1U);
}

TEST_F(BusesTest, a_bus_with_members_stays) {
  const PortId port = join(make("chat"));
  EXPECT_EQ(buses.remove("chat", kAlice.uid).error().error, EBUSY);
  buses.leave(port);
  EXPECT_TRUE(buses.remove("chat", kAlice.uid));
  EXPECT_EQ(buses.remove("chat", kAlice.uid).error().error, ENOENT);
  EXPECT_EQ(users.total(Resource::buses), 0U);
  EXPECT_EQ(users.total(Resource::ports), 0U);
}

TEST_F(BusesTest, rename_and_exchange_keep_what_the_buses_are) {
  const BusId one = make("one");
  const BusId two = make("two");
  EXPECT_EQ(buses.rename("one", "two", 0).error().error, EEXIST);
  EXPECT_EQ(buses.rename("three", "four", 0).error().error, ENOENT);
  EXPECT_EQ(buses.rename("one", "a/b", 0).error().error, EINVAL);
  EXPECT_TRUE(buses.rename("one", "one", 0));
  EXPECT_TRUE(buses.exchange("one", "two", 0));
  EXPECT_EQ(buses.find("one")->id, two);
  EXPECT_EQ(buses.exchange("one", "three", 0).error().error, ENOENT);
  EXPECT_TRUE(buses.rename("two", "three", 0));
  EXPECT_EQ(buses.find("three")->id, one);
  EXPECT_EQ(buses.find("two"), nullptr);
}

TEST_F(BusesTest, ports_are_numbered_from_the_smallest_that_is_free) {
  const BusId bus = make("chat");
  const PortId first = join(bus);
  const PortId second = join(bus);
  EXPECT_EQ(buses.find_port(second)->number, PortNumber{2});
  buses.leave(first);
  const PortId again = join(bus);
  EXPECT_EQ(buses.find_port(again)->number, PortNumber{1});
  EXPECT_NE(again, first);
  EXPECT_EQ(buses.find_port(first), nullptr);
}

TEST_F(BusesTest, the_ports_are_a_limit_and_strangers_share_them) {
  const BusId bus = make("chat", {.ports = 4});
  join(bus, kBob);
  join(bus, kBob);
  EXPECT_EQ(buses.join(bus, kBob, kReads, now).error().error, EADDRNOTAVAIL);
  join(bus);
  join(bus);
  EXPECT_EQ(buses.join(bus, kAlice, kReads, now).error().error, EADDRNOTAVAIL);
  EXPECT_EQ(users.used(kBob.uid, Resource::ports), 2U);
}

TEST_F(BusesTest, the_writers_are_a_limit) {
  const BusId bus = make("chat", {.writers = 1});
  join(bus);
  EXPECT_EQ(buses.join(bus, kAlice, kBoth, now).error().error, EBUSY);
  join(bus, kAlice, kReads);
  EXPECT_EQ(buses.find(bus)->readers, 2U);
  EXPECT_EQ(buses.find(bus)->writers, 1U);
}

TEST_F(BusesTest, no_limit_goes_below_what_there_is) {
  const BusId bus = make("chat");
  join(bus);
  join(bus);
  EXPECT_EQ(buses.set_settings(bus, {.ports = 1}, 0).error().error, EBUSY);
  EXPECT_EQ(buses.set_settings(bus, {.writers = 1}, 0).error().error, EBUSY);
  EXPECT_EQ(buses.find(bus)->settings, BusSettings{});
  EXPECT_TRUE(buses.set_settings(bus, {.writers = 2, .ports = 2}, 0));
}

TEST_F(BusesTest, a_port_gives_up_a_direction_and_is_counted_so) {
  const BusId bus = make("chat", {.writers = 1});
  const PortId port = join(bus);
  events();
  buses.shut_down(port, {.receive = false, .send = true});
  buses.shut_down(port, {.receive = false, .send = true});
  EXPECT_THAT(events(),
              ::testing::ElementsAre("shutdown buses/chat port=1 mode=r readers=1 writers=0"));
  join(bus);
  buses.leave(port);
  EXPECT_THAT(events(),
              ::testing::ElementsAre("join buses/chat port=2 mode=rw readers=2 writers=1",
                                     "leave buses/chat port=1 mode=r readers=1 writers=1"));
}

TEST_F(BusesTest, another_policy_is_told_and_other_settings_are_not) {
  const BusId bus = make("lan");
  events();
  EXPECT_TRUE(buses.set_settings(bus, {.history = 5}, kBob.uid));
  EXPECT_TRUE(buses.set_settings(bus, {.policy = BusPolicy::ethernet_hub}, kBob.uid));
  const auto told = buses.take_events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].event.kind, EventKind::bus_policy);
  EXPECT_EQ(told[0].event.uid, kBob.uid);
  EXPECT_EQ(told[0].event.detail, "policy=hub readers=0 writers=0");
  EXPECT_FALSE(told[0].everywhere);
}

TEST_F(BusesTest, a_user_who_has_all_ports_is_told) {
  const BusId bus = make("chat");
  users.set_limit(kBob.uid, Resource::ports, 1);
  join(bus, kBob);
  EXPECT_EQ(buses.join(bus, kBob, kReads, now).error().error, EDQUOT);
  EXPECT_EQ(buses.find(bus)->ports.size(), 1U);
}

TEST_F(BusesTest, events_tell_who_is_there) {
  const BusId bus = make("chat");
  const PortId one = join(bus);
  const PortId two = join(bus, kBob, kReads);
  buses.leave(one);
  buses.leave(two, true);
  buses.leave(two);
  EXPECT_THAT(events(),
              ::testing::ElementsAre(
                  "bus-created buses/chat ", "join buses/chat port=1 mode=rw readers=1 writers=1",
                  "join buses/chat port=2 mode=r readers=2 writers=1",
                  "leave buses/chat port=1 mode=rw readers=1 writers=0",
                  "leave buses/chat port=2 mode=r readers=0 writers=0 reason=evicted"));
}

TEST_F(BusesTest, random_calls_break_no_invariant) {
  std::mt19937 random(1);
  const auto pick = [&random](std::uint32_t below) {
    return std::uniform_int_distribution(0U, below - 1)(random);
  };
  const auto name = [&] { return std::string(1, static_cast<char>('a' + pick(4))); };
  std::vector<PortId> ports;
  int good = 0;  // calls that changed something
  users.set_limit(kBob.uid, Resource::ports, 3);
  for (int step = 0; step < 5000; ++step) {
    const BusInfo* bus = buses.find(name());
    switch (pick(7)) {
      case 0:
        good +=
            buses.create(name(), pick(2) == 0 ? kAlice : kBob, {.writers = 2, .ports = 4}) ? 1 : 0;
        break;
      case 1:
        good += buses.remove(name(), 0) ? 1 : 0;
        break;
      case 2:
        good += buses.rename(name(), name(), 0) ? 1 : 0;
        break;
      case 3:
        good += buses.exchange(name(), name(), 0) ? 1 : 0;
        break;
      case 4:
        if (!ports.empty()) {
          buses.leave(ports[pick(static_cast<std::uint32_t>(ports.size()))]);
        }
        break;
      default:
        if (bus != nullptr) {
          const Rights rights{.receive = true, .send = pick(2) == 0};
          if (const auto port = buses.join(bus->id, pick(2) == 0 ? kAlice : kBob, rights, now)) {
            ports.push_back(*port);
          }
        }
        break;
    }
    ASSERT_EQ(buses.check_invariants(), "") << "step " << step;
  }
  EXPECT_GT(good, 500);
  EXPECT_GT(ports.size(), 100U);
}

}  // namespace
}  // namespace flowfs::registry
