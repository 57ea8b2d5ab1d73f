// SPDX-License-Identifier: BSD-3-Clause
#include "bus/bus.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace flowfs::bus {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::size_t kCost = MessageLog::cost(10);  // of a message of ten bytes

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

struct Listener : Member {
  void on_message() override { ++messages; }
  void on_room() override { ++rooms; }
  void on_cut_off() override { cut_off = true; }
  int messages = 0;
  int rooms = 0;
  bool cut_off = false;
};

class BusTest : public ::testing::Test {
 protected:
  static constexpr Rights kBoth{.receive = true, .send = true};
  static constexpr Rights kReads{.receive = true, .send = false};
  static constexpr Rights kWrites{.receive = false, .send = true};

  PortId join(Rights rights = kBoth) {
    const auto number = static_cast<std::uint32_t>(members.size() + 1);
    members.push_back(std::make_unique<Listener>());
    const PortId id{number + 100};
    bus.join(id, PortNumber{number}, *members.back(), rights);
    return id;
  }
  Listener& listener(PortId id) { return *members[static_cast<std::size_t>(id) - 101]; }
  static PortNumber number(PortId id) {
    return PortNumber{static_cast<std::uint32_t>(static_cast<std::uint64_t>(id) - 100)};
  }
  SendOutcome send(PortId from, std::string_view text) {
    return bus.send(from, bytes_of(text), now);
  }
  SendOutcome send_to(PortId from, std::string_view text, std::initializer_list<PortId> to,
                      Worth worth = {}) {
    return send_forms(from, text, {{text, to, worth}}, worth);
  }
  struct Part {
    std::string_view text;
    std::vector<PortId> to;
    Worth worth;
  };
  SendOutcome send_forms(PortId from, std::string_view original, const std::vector<Part>& parts,
                         Worth worth = {}) {
    std::vector<std::vector<PortNumber>> numbers;
    std::vector<Bus::Form> forms;
    for (const Part& part : parts) {
      numbers.emplace_back();
      for (const PortId port : part.to) {
        numbers.back().push_back(number(port));
      }
    }
    for (std::size_t i = 0; i < parts.size(); ++i) {
      forms.push_back(
          {.bytes = bytes_of(parts[i].text), .to = numbers[i], .worth = parts[i].worth});
    }
    return bus.send_forms({.from = from, .bytes = original.size(), .worth = worth}, forms, now);
  }
  std::string read(PortId port, std::size_t most = SIZE_MAX) {
    const Bus::Front front = bus.front(port);
    const std::size_t part = std::min(most, front.rest.size());
    std::string text(reinterpret_cast<const char*>(front.rest.data()), part);
    if (front.outcome == ReadOutcome::ok) {
      bus.consume(port, part, now);
    }
    return text;
  }
  std::vector<std::string> read_all(PortId port) {
    std::vector<std::string> all;
    while (bus.readable(port)) {
      all.push_back(read(port));
    }
    return all;
  }
  void limit(Limits limits) { bus.set_limits(limits, now); }
  void TearDown() override { EXPECT_EQ(bus.check_invariants(), ""); }

  Bus bus{Limits{}};
  std::vector<std::unique_ptr<Listener>> members;
  Instant now{std::chrono::seconds(1000)};
};

TEST_F(BusTest, everybody_but_the_sender_gets_a_message) {
  const PortId a = join();
  const PortId b = join();
  const PortId reader = join(kReads);
  const PortId writer = join(kWrites);
  ASSERT_EQ(send(a, "one"), SendOutcome::ok);
  ASSERT_EQ(send(writer, "two"), SendOutcome::ok);
  EXPECT_THAT(read_all(a), ElementsAre("two"));
  EXPECT_THAT(read_all(b), ElementsAre("one", "two"));
  EXPECT_THAT(read_all(reader), ElementsAre("one", "two"));
  EXPECT_THAT(read_all(writer), IsEmpty());
  EXPECT_EQ(listener(reader).messages, 2);
  EXPECT_EQ(listener(writer).messages, 0);
  EXPECT_EQ(bus.log_bytes(), 0U);
}

TEST_F(BusTest, a_short_read_goes_on_with_the_rest_of_the_same_message) {
  const PortId a = join();
  const PortId b = join();
  ASSERT_EQ(send(a, "hello"), SendOutcome::ok);
  ASSERT_EQ(send(a, "world"), SendOutcome::ok);
  EXPECT_EQ(read(b, 3), "hel");
  EXPECT_TRUE(bus.has_begun(b));
  EXPECT_EQ(bus.counts(b).delivered, 0U);
  EXPECT_EQ(read(b), "lo");
  EXPECT_FALSE(bus.has_begun(b));
  EXPECT_EQ(read(b), "world");
}

TEST_F(BusTest, a_reader_skips_to_the_newest) {
  const PortId a = join();
  const PortId b = join();
  const PortId other = join(kReads);
  EXPECT_EQ(bus.skip(b, now), 0U);
  for (const std::string_view text : {"one", "two", "three"}) {
    ASSERT_EQ(send(a, text), SendOutcome::ok);
  }
  EXPECT_EQ(read(b, 2), "on");
  EXPECT_EQ(bus.skip(b, now), 2U);
  EXPECT_FALSE(bus.has_begun(b));
  EXPECT_EQ(bus.counts(b).dropped, 2U);
  EXPECT_EQ(read(b, 2), "th");
  EXPECT_EQ(bus.skip(b, now), 0U);  // the newest is being read
  EXPECT_EQ(read(b), "ree");
  EXPECT_EQ(bus.skip(b, now), 0U);
  EXPECT_THAT(read_all(other), ElementsAre("one", "two", "three"));
}

TEST_F(BusTest, what_is_skipped_makes_room_for_who_waits) {
  limit({.lossless = true, .depth_bytes = 2 * kCost});
  const PortId a = join();
  const PortId b = join();
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::full);
  bus.wait_for_room(a, 10, now);
  EXPECT_EQ(listener(a).rooms, 0);
  EXPECT_EQ(bus.skip(b, now), 1U);
  EXPECT_EQ(listener(a).rooms, 1);
}

TEST_F(BusTest, a_late_joiner_gets_what_is_sent_afterwards) {
  const PortId a = join();
  ASSERT_EQ(send(a, "before"), SendOutcome::ok);
  const PortId b = join();
  ASSERT_EQ(send(a, "after"), SendOutcome::ok);
  EXPECT_THAT(read_all(b), ElementsAre("after"));
}

TEST_F(BusTest, a_late_joiner_gets_the_history_first) {
  limit({.history = 2});
  const PortId a = join();
  for (const std::string_view text : {"1", "2", "3"}) {
    ASSERT_EQ(send(a, text), SendOutcome::ok);
  }
  const PortId b = join();
  EXPECT_EQ(bus.counts(b).lag, 2U);
  ASSERT_EQ(send(a, "4"), SendOutcome::ok);
  EXPECT_THAT(read_all(b), ElementsAre("2", "3", "4"));
  limit({.history = 0});
  EXPECT_EQ(bus.log_bytes(), 0U);
}

TEST_F(BusTest, history_leaves_out_what_was_for_some_only) {
  limit({.history = 8});
  const PortId a = join();
  const PortId b = join();
  ASSERT_EQ(send_to(a, "for b", {b}), SendOutcome::ok);
  ASSERT_EQ(send(a, "for all"), SendOutcome::ok);
  EXPECT_THAT(read_all(join()), ElementsAre("for all"));
  EXPECT_THAT(read_all(b), ElementsAre("for b", "for all"));
}

TEST_F(BusTest, what_is_for_some_is_not_dropped_for_others) {
  limit({.depth_bytes = 2 * kCost});
  const PortId a = join();
  const PortId b = join();
  const PortId c = join();
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(send_to(a, "0123456789", {b}), SendOutcome::ok);
  }
  EXPECT_EQ(bus.counts(b).dropped, 1U);
  EXPECT_EQ(bus.counts(b).lag, 2U);
  EXPECT_EQ(bus.counts(c).dropped, 0U);
  EXPECT_EQ(listener(c).messages, 0);
}

TEST_F(BusTest, a_message_in_several_forms_is_sent_once) {
  const PortId a = join();
  const PortId b = join();
  const PortId c = join();
  ASSERT_EQ(send_forms(a, "x", {{"for b", {b}, {}}, {"c1", {c}, {}}, {"c2", {c}, {}}},
                       {.messages = 2, .bytes = 7}),
            SendOutcome::ok);
  EXPECT_EQ(bus.counts(a).sent, 2U);
  EXPECT_EQ(bus.counts(a).sent_bytes, 7U);
  EXPECT_EQ(bus.totals().sent, 2U);
  EXPECT_THAT(read_all(b), ElementsAre("for b"));
  EXPECT_THAT(read_all(c), ElementsAre("c1", "c2"));
}

TEST_F(BusTest, a_message_counts_as_what_it_is_worth) {
  limit({.depth_bytes = 2 * kCost});
  const PortId a = join();
  const PortId b = join();
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(send_to(a, "0123456789", {b}, {.messages = 5, .bytes = 40}), SendOutcome::ok);
  }
  EXPECT_EQ(bus.counts(b).dropped, 5U);
  EXPECT_EQ(bus.counts(b).lag, 10U);
  EXPECT_EQ(read(b), "0123456789");
  EXPECT_EQ(bus.counts(b).delivered, 5U);
  EXPECT_EQ(bus.counts(b).delivered_bytes, 40U);
  ASSERT_EQ(send_to(a, "newest", {b}, {.messages = 3}), SendOutcome::ok);
  EXPECT_EQ(bus.skip(b, now), 5U);
  EXPECT_EQ(bus.skip(b, now), 0U);
  EXPECT_EQ(bus.counts(b).lag, 3U);
  EXPECT_THAT(read_all(b), ElementsAre("newest"));
  const PortCounts counts = bus.counts(b);
  EXPECT_EQ(bus.counts(a).sent, counts.delivered + counts.dropped);
}

TEST_F(BusTest, there_is_room_for_all_forms_or_for_none) {
  limit({.lossless = true, .depth_bytes = 3 * kCost});
  const PortId a = join();
  const PortId b = join();
  const PortId c = join();
  const std::vector<Part> parts{{"0123456789", {b}, {}}, {"abcdefghij", {c}, {}}};
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  EXPECT_EQ(send_forms(a, "0123456789", parts), SendOutcome::ok);
  EXPECT_EQ(send_forms(a, "0123456789", parts), SendOutcome::full);
  EXPECT_EQ(bus.counts(b).lag, 2U);
  EXPECT_EQ(bus.counts(c).lag, 2U);
  EXPECT_EQ(bus.totals().dropped, 0U);
  EXPECT_EQ(bus.counts(a).sent, 2U);
}

TEST_F(BusTest, who_waits_does_so_for_room_for_all_forms) {
  limit({.lossless = true, .depth_bytes = 3 * kCost});
  const PortId a = join();
  const PortId b = join();
  const PortId c = join();
  const std::vector<Part> parts{{"0123456789", {b}, {}}, {"abcdefghij", {c}, {}}};
  ASSERT_EQ(send_to(a, "0123456789", {b}), SendOutcome::ok);
  ASSERT_EQ(send_to(a, "0123456789", {b}), SendOutcome::ok);
  ASSERT_EQ(send_forms(a, "0123456789", parts), SendOutcome::full);
  bus.wait_for_room(a, 10, now);
  EXPECT_EQ(listener(a).rooms, 0);
  EXPECT_EQ(read(b), "0123456789");
  EXPECT_EQ(listener(a).rooms, 1);
  EXPECT_EQ(send_forms(a, "0123456789", parts), SendOutcome::ok);
}

TEST_F(BusTest, who_gives_up_receiving_loses_what_was_unread_and_blocks_nobody) {
  limit({.lossless = true, .depth_bytes = 2 * kCost});
  const PortId a = join();
  const PortId b = join();
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  EXPECT_EQ(read(b, 4), "0123");
  bus.wait_for_room(a, 10, now);
  bus.give_up(b, kWrites, now);
  EXPECT_EQ(listener(a).rooms, 1);
  EXPECT_EQ(bus.counts(b).dropped, 2U);
  EXPECT_FALSE(bus.readable(b));
  ASSERT_EQ(send(a, "more"), SendOutcome::ok);
  EXPECT_EQ(bus.counts(b).lag, 0U);
  ASSERT_EQ(send(b, "to a"), SendOutcome::ok);
  EXPECT_THAT(read_all(a), ElementsAre("to a"));
}

TEST_F(BusTest, who_gives_up_sending_waits_for_nothing) {
  limit({.lossless = true, .depth_bytes = kCost});
  const PortId a = join();
  const PortId b = join();
  const PortId c = join();
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  bus.wait_for_room(b, 10, now);
  bus.wait_for_room(a, 10, now);
  bus.give_up(b, kReads, now);
  EXPECT_EQ(read(b), "0123456789");
  EXPECT_EQ(read(c), "0123456789");
  EXPECT_EQ(listener(b).rooms, 0);
  EXPECT_EQ(listener(a).rooms, 1);
}

TEST_F(BusTest, a_lossy_bus_drops_the_oldest_for_the_slow_one_alone) {
  limit({.depth_bytes = 2 * kCost});
  const PortId a = join();
  const PortId slow = join();
  const PortId quick = join();
  for (const std::string_view text : {"message 01", "message 02", "message 03"}) {
    ASSERT_EQ(send(a, text), SendOutcome::ok);
    EXPECT_EQ(read(quick), text);
  }
  EXPECT_EQ(bus.counts(slow).dropped, 1U);
  EXPECT_EQ(bus.counts(quick).dropped, 0U);
  EXPECT_THAT(read_all(slow), ElementsAre("message 02", "message 03"));
  EXPECT_EQ(bus.totals().delivered, 5U);
  EXPECT_EQ(bus.totals().dropped, 1U);
}

TEST_F(BusTest, a_reader_that_is_overtaken_inside_a_message_is_told_once) {
  limit({.depth_bytes = kCost});
  const PortId a = join();
  const PortId b = join();
  ASSERT_EQ(send(a, "message 01"), SendOutcome::ok);
  EXPECT_EQ(read(b, 4), "mess");
  ASSERT_EQ(send(a, "message 02"), SendOutcome::ok);
  EXPECT_TRUE(bus.readable(b));
  EXPECT_FALSE(bus.has_begun(b));
  EXPECT_EQ(bus.front(b).outcome, ReadOutcome::overtaken);
  EXPECT_EQ(read(b), "message 02");
  EXPECT_EQ(bus.counts(b).dropped, 1U);
}

TEST_F(BusTest, a_message_longer_than_the_depth_goes_alone) {
  limit({.depth_bytes = kCost});
  const PortId a = join();
  const PortId b = join();
  ASSERT_EQ(send(a, "short"), SendOutcome::ok);
  ASSERT_EQ(send(a, "longer than all that is kept"), SendOutcome::ok);
  EXPECT_THAT(read_all(b), ElementsAre("longer than all that is kept"));
}

TEST_F(BusTest, refuses_what_is_longer_than_the_mtu) {
  limit({.mtu_bytes = 3});
  const PortId a = join();
  EXPECT_EQ(send(a, "four"), SendOutcome::too_long);
  EXPECT_EQ(send(a, "two"), SendOutcome::ok);
  EXPECT_EQ(bus.totals().sent, 1U);
}

TEST_F(BusTest, a_lossless_bus_is_full_until_the_slowest_has_read) {
  limit({.lossless = true, .mtu_bytes = 10, .depth_bytes = 2 * kCost});
  const PortId a = join();
  const PortId slow = join();
  const PortId quick = join();
  ASSERT_EQ(send(a, "message 01"), SendOutcome::ok);
  EXPECT_TRUE(bus.writable(a));
  ASSERT_EQ(send(a, "message 02"), SendOutcome::ok);
  EXPECT_EQ(read_all(quick).size(), 2U);
  EXPECT_FALSE(bus.writable(a));
  EXPECT_EQ(send(a, "message 03"), SendOutcome::full);
  EXPECT_EQ(listener(a).rooms, 0);
  EXPECT_EQ(read(slow), "message 01");
  EXPECT_EQ(listener(a).rooms, 1);  // as the poller it was
  EXPECT_EQ(send(a, "message 03"), SendOutcome::ok);
  EXPECT_THAT(read_all(slow), ElementsAre("message 02", "message 03"));
  EXPECT_EQ(bus.totals().dropped, 0U);
}

TEST_F(BusTest, a_lossless_bus_without_readers_never_waits) {
  limit({.lossless = true, .depth_bytes = kCost, .history = 4});
  const PortId a = join();
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  }
  EXPECT_EQ(bus.log_bytes(), kCost);
}

TEST_F(BusTest, those_who_wait_for_room_get_it_in_order) {
  limit({.lossless = true, .depth_bytes = kCost});
  const PortId a = join(kWrites);
  const PortId b = join(kWrites);
  const PortId reader = join(kReads);
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  bus.wait_for_room(b, 10, now);
  bus.wait_for_room(a, 10, now);
  EXPECT_EQ(read(reader), "0123456789");
  EXPECT_EQ(listener(b).rooms, 1);
  EXPECT_EQ(listener(a).rooms, 1);  // as b did nothing with its turn
}

TEST_F(BusTest, nobody_passes_those_who_wait) {
  limit({.lossless = true, .depth_bytes = 2 * kCost});
  const PortId a = join(kWrites);
  const PortId b = join(kWrites);
  const PortId reader = join(kReads);
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  bus.wait_for_room(b, 100, now);
  EXPECT_EQ(send(a, "short"), SendOutcome::full);
  bus.stop_waiting(b, now);
  EXPECT_EQ(send(a, "short"), SendOutcome::ok);
  EXPECT_EQ(listener(b).rooms, 0);
  EXPECT_TRUE(bus.readable(reader));
}

TEST_F(BusTest, a_reader_that_blocks_too_long_is_cut_off) {
  using std::chrono::seconds;
  limit({.lossless = true, .depth_bytes = kCost, .evict = seconds(2)});
  const PortId a = join(kWrites);
  const PortId stuck = join(kReads);
  const PortId quick = join(kReads);
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  EXPECT_EQ(read(quick), "0123456789");
  EXPECT_EQ(bus.next_deadline(), kNever);  // nobody waits for it yet
  EXPECT_EQ(send(a, "0123456789"), SendOutcome::full);
  EXPECT_EQ(bus.next_deadline(), now + seconds(2));
  bus.tick(now + seconds(1));
  EXPECT_TRUE(bus.is_member(stuck));
  bus.tick(now + seconds(2));
  EXPECT_FALSE(bus.is_member(stuck));
  EXPECT_TRUE(listener(stuck).cut_off);
  EXPECT_FALSE(listener(quick).cut_off);
  EXPECT_EQ(bus.totals().dropped, 1U);
  EXPECT_EQ(send(a, "0123456789"), SendOutcome::ok);
  EXPECT_EQ(bus.next_deadline(), kNever);
}

TEST_F(BusTest, reading_one_message_gives_a_blocker_new_time) {
  using std::chrono::seconds;
  limit({.lossless = true, .depth_bytes = 2 * kCost, .evict = seconds(2)});
  const PortId a = join(kWrites);
  const PortId slow = join(kReads);
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  EXPECT_EQ(send(a, "0123456789"), SendOutcome::full);
  now += seconds(1);
  EXPECT_EQ(read(slow), "0123456789");
  EXPECT_EQ(bus.next_deadline(), kNever);
}

TEST_F(BusTest, what_a_leaver_had_not_read_is_dropped_and_gone) {
  const PortId a = join();
  const PortId b = join();
  ASSERT_EQ(send(a, "one"), SendOutcome::ok);
  ASSERT_EQ(send(a, "two"), SendOutcome::ok);
  EXPECT_EQ(read(b), "one");
  bus.leave(b, now);
  EXPECT_EQ(bus.totals().dropped, 1U);
  EXPECT_EQ(bus.log_bytes(), 0U);
  bus.leave(b, now);
  EXPECT_EQ(bus.totals().dropped, 1U);
}

TEST_F(BusTest, a_smaller_depth_holds_at_once_where_messages_may_be_lost) {
  const PortId a = join();
  const PortId b = join();
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(send(a, "0123456789"), SendOutcome::ok);
  }
  limit({.lossless = true, .depth_bytes = kCost});
  EXPECT_EQ(bus.counts(b).lag, 4U);
  limit({.depth_bytes = 2 * kCost});
  EXPECT_EQ(bus.counts(b).lag, 2U);
  EXPECT_EQ(bus.counts(b).dropped, 2U);
}

}  // namespace
}  // namespace flowfs::bus
