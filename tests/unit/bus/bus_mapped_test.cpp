// SPDX-License-Identifier: BSD-3-Clause
// Members that read a shared log by themselves, beside those that read from the bus.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bus/bus.hpp"

namespace flowfs::bus {
namespace {

// Keeps everything, and notes what it was told to give up.
class FakeLog : public SharedLog {
 public:
  Extent append(PortId /*from*/, std::span<const std::byte> message) override {
    const Extent extent{
        .begin = text.size(), .end = text.size() + message.size(), .sequence = messages++};
    text.append(reinterpret_cast<const char*>(message.data()), message.size());
    return extent;
  }
  [[nodiscard]] bool has_room(std::size_t bytes) const override {
    return text.size() - floor + bytes <= ring_bytes;
  }
  void give_up_to(std::uint64_t position) override {
    EXPECT_GE(position, floor);
    EXPECT_LE(position, text.size());
    floor = position;
  }
  [[nodiscard]] std::span<const std::byte> message(std::uint64_t begin,
                                                   std::size_t length) const override {
    EXPECT_GE(begin, floor);
    return std::as_bytes(std::span(text)).subspan(begin, length);
  }
  [[nodiscard]] std::uint64_t end() const override { return text.size(); }
  [[nodiscard]] std::uint64_t sequence() const override { return messages; }

  std::string text;
  std::uint64_t messages = 0;
  std::uint64_t floor = 0;
  std::uint64_t ring_bytes = 1'000;
};

struct Reader : MappedReader {
  Said said() override {
    ++asked;
    return {.position = at, .lost = lost, .bytes = bytes};
  }
  void await() override { ++awaited; }
  std::uint64_t at = 0;
  std::uint64_t lost = 0;
  std::uint64_t bytes = 0;
  int asked = 0;
  int awaited = 0;
};

struct Listener : Member {
  void on_message() override { ++messages; }
  void on_room() override { ++rooms; }
  void on_cut_off() override { cut_off = true; }
  int messages = 0;
  int rooms = 0;
  bool cut_off = false;
};

class BusMapped : public ::testing::Test {
 protected:
  static constexpr std::size_t kCost = MessageLog::cost(10);

  PortId join(Rights rights = {.receive = true, .send = true}) {
    const auto number = static_cast<std::uint32_t>(listeners.size() + 1);
    listeners.push_back(std::make_unique<Listener>());
    const PortId id{number};
    bus.join(id, PortNumber{number}, *listeners.back(), rights);
    return id;
  }
  void map(PortId id) {
    if (!bus.is_shared()) {
      bus.share(log);
    }
    readers.erase(id);
    const Bus::Start start = bus.map(id, readers[id]);
    readers[id].at = start.position;
    sequences[id] = start.sequence;
  }
  PortId join_mapped() {
    const PortId id = join();
    map(id);
    return id;
  }
  SendOutcome send(PortId from, std::string_view text) {
    const SendOutcome outcome =
        bus.send(from, std::as_bytes(std::span(text.data(), text.size())), now);
    EXPECT_EQ(bus.check_invariants(), "");
    return outcome;
  }
  std::string read(PortId id) {
    const Bus::Front front = bus.front(id);
    std::string text(reinterpret_cast<const char*>(front.rest.data()), front.rest.size());
    if (front.outcome == ReadOutcome::ok) {
      bus.consume(id, front.rest.size(), now);
    }
    return text;
  }
  void set(Limits limits) { bus.set_limits(limits, now); }
  // Reads all that the log has.
  void read_all(PortId id) {
    readers[id].bytes += log.end() - readers[id].at;
    readers[id].at = log.end();
    bus.refresh(now);
    EXPECT_EQ(bus.check_invariants(), "");
  }

  Instant now{};
  FakeLog log;
  std::map<PortId, Reader> readers;
  std::map<PortId, std::uint64_t> sequences;  // of the first message
  std::vector<std::unique_ptr<Listener>> listeners;
  Bus bus{Limits{}};
};

TEST_F(BusMapped, reads_beside_files) {
  const PortId sender = join();
  const PortId file = join();
  const PortId mapped = join_mapped();
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  EXPECT_EQ(log.text, "ten bytes!");
  EXPECT_EQ(bus.counts(mapped).lag, 1U);
  EXPECT_EQ(read(file), "ten bytes!");
  read_all(mapped);
  EXPECT_EQ(bus.counts(mapped).delivered, 1U);
  EXPECT_EQ(bus.counts(mapped).delivered_bytes, 10U);
  EXPECT_EQ(bus.log_bytes(), 0U);
}

TEST_F(BusMapped, begins_with_what_it_had_not_read_as_a_file) {
  const PortId sender = join();
  const PortId mapped = join();
  (void)send(sender, "read");
  (void)send(sender, "begun");
  EXPECT_EQ(read(mapped), "read");
  bus.consume(mapped, (void(bus.front(mapped)), 2), now);
  map(mapped);
  EXPECT_EQ(log.text.substr(readers[mapped].at), "begun");
  EXPECT_EQ(bus.counts(mapped).lag, 1U);
}

TEST_F(BusMapped, goes_on_as_a_file_with_what_it_has_not_read) {
  const PortId sender = join();
  const PortId mapped = join_mapped();
  (void)send(sender, "one");
  (void)send(sender, "two");
  readers[mapped].at = 3;
  bus.unmap(mapped, now);
  bus.unshare();
  EXPECT_EQ(read(mapped), "two");
  EXPECT_EQ(bus.counts(mapped).delivered, 2U);
  EXPECT_EQ(bus.check_invariants(), "");
}

TEST_F(BusMapped, loses_the_oldest_where_the_bus_is_lossy) {
  set({.depth_bytes = 2 * kCost});
  const PortId sender = join();
  const PortId mapped = join_mapped();
  const PortId quick = join_mapped();
  for (int i = 0; i < 5; ++i) {
    readers[quick].at = log.end();
    EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  }
  bus.refresh(now);
  EXPECT_EQ(bus.counts(mapped).dropped, 3U);
  EXPECT_EQ(bus.counts(mapped).lag, 2U);
  EXPECT_EQ(bus.counts(quick).dropped, 0U);
  EXPECT_EQ(log.floor, 30U);
}

// Every reader looks at that after each message, and nobody reads there any more.
TEST_F(BusMapped, keeps_what_all_have_read_until_the_log_is_full_where_the_bus_is_lossless) {
  set({.lossless = true, .depth_bytes = 2 * kCost});
  log.ring_bytes = 40;
  const PortId sender = join();
  const PortId mapped = join_mapped();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
    readers[mapped].at = log.end();
    bus.refresh(now);
    EXPECT_EQ(log.floor, 0U);
  }
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  EXPECT_EQ(log.floor, 40U);
}

TEST_F(BusMapped, makes_senders_wait_where_the_bus_is_lossless) {
  set({.lossless = true, .depth_bytes = 2 * kCost});
  const PortId sender = join();
  const PortId mapped = join_mapped();
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::full);
  EXPECT_EQ(readers[mapped].awaited, 0);
  bus.wait_for_room(sender, 10, now);
  EXPECT_GT(readers[mapped].awaited, 0);
  EXPECT_EQ(listeners[0]->rooms, 0);
  readers[mapped].at = 10;
  bus.has_read(now);
  EXPECT_EQ(listeners[0]->rooms, 1);
}

TEST_F(BusMapped, makes_senders_wait_for_the_slowest_alone) {
  set({.lossless = true, .depth_bytes = 2 * kCost});
  const PortId sender = join();
  const std::vector<PortId> all{join(), join(), join()};
  for (const PortId id : all) {
    map(id);
  }
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  readers[all[0]].at = readers[all[2]].at = log.end();
  bus.wait_for_room(sender, 10, now);
  bus.has_read(now);
  EXPECT_EQ(readers[all[0]].awaited + readers[all[2]].awaited, 1) << "before they were looked at";
  EXPECT_GT(readers[all[1]].awaited, 0);
  EXPECT_EQ(listeners[0]->rooms, 0);
  readers[all[1]].at = 10;
  bus.has_read(now);
  EXPECT_EQ(listeners[0]->rooms, 1);
  EXPECT_EQ(bus.counts(all[0]).delivered, 2U);
}

TEST_F(BusMapped, waits_for_nobody_who_has_left) {
  set({.lossless = true, .depth_bytes = kCost});
  const PortId sender = join();
  const PortId slow = join_mapped();
  const PortId quick = join_mapped();
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  bus.wait_for_room(sender, 10, now);
  readers[quick].at = log.end();
  bus.leave(slow, now);
  bus.has_read(now);
  EXPECT_EQ(listeners[0]->rooms, 1);
  EXPECT_EQ(bus.check_invariants(), "");
}

TEST_F(BusMapped, is_seldom_looked_at_however_much_is_sent) {
  set({.depth_bytes = 4 * kCost});
  const PortId sender = join();
  const PortId stopped = join_mapped();
  const PortId quick = join_mapped();
  for (int i = 0; i < 1000; ++i) {
    readers[quick].at = log.end();
    EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  }
  EXPECT_LT(readers[stopped].asked, 10);
  readers[stopped].at = log.floor;  // from there it goes on, and says so
  readers[stopped].lost = 996;
  read_all(stopped);
  read_all(quick);
  EXPECT_EQ(bus.counts(stopped).dropped, 996U);
  EXPECT_EQ(bus.counts(stopped).delivered, 4U);
  EXPECT_EQ(bus.counts(quick).dropped, 0U);
  EXPECT_EQ(bus.counts(quick).delivered, 1000U);
}

TEST_F(BusMapped, is_known_to_have_read_what_was_forgotten_since) {
  set({.depth_bytes = 2 * kCost});
  const PortId sender = join();
  const PortId mapped = join_mapped();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  }
  readers[mapped].at = 50;  // five of them, before they went
  bus.refresh(now);
  EXPECT_EQ(bus.counts(mapped).delivered, 5U);
  EXPECT_EQ(bus.counts(mapped).dropped, 3U);
  EXPECT_EQ(bus.counts(mapped).lag, 2U);
}

TEST_F(BusMapped, has_dropped_what_it_skips) {
  const PortId sender = join();
  const PortId mapped = join_mapped();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  }
  readers[mapped].lost = 4;
  readers[mapped].bytes = 10;
  readers[mapped].at = log.end();
  bus.refresh(now);
  EXPECT_EQ(bus.counts(mapped).delivered, 1U);
  EXPECT_EQ(bus.counts(mapped).delivered_bytes, 10U);
  EXPECT_EQ(bus.counts(mapped).dropped, 4U);
}

TEST_F(BusMapped, says_of_itself_no_more_than_can_be) {
  const PortId sender = join();
  const PortId mapped = join_mapped();
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  readers[mapped].lost = readers[mapped].bytes = UINT64_MAX;
  readers[mapped].at = log.end();
  bus.refresh(now);
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  EXPECT_EQ(bus.counts(mapped).dropped, 1U);
  EXPECT_EQ(bus.counts(mapped).delivered, 0U);
  EXPECT_LE(bus.counts(mapped).delivered_bytes, 10U);
  EXPECT_EQ(bus.counts(mapped).lag, 1U);
}

TEST_F(BusMapped, is_told_of_a_message_only_where_it_waits_for_one) {
  const PortId sender = join();
  const PortId mapped = join_mapped();
  map(sender);
  EXPECT_EQ(send(sender, "one"), SendOutcome::ok);
  EXPECT_EQ(listeners[1]->messages, 0);
  bus.await_message(mapped);
  bus.await_message(mapped);
  EXPECT_EQ(send(mapped, "its own"), SendOutcome::ok);
  EXPECT_EQ(listeners[1]->messages, 0);
  EXPECT_EQ(send(sender, "two"), SendOutcome::ok);
  EXPECT_EQ(send(sender, "three"), SendOutcome::ok);
  EXPECT_EQ(listeners[1]->messages, 1);
}

TEST_F(BusMapped, does_not_count_what_it_sent_itself) {
  set({.depth_bytes = 3 * kCost});
  const PortId one = join();
  const PortId other = join();
  map(one);
  EXPECT_EQ(send(one, "ten bytes!"), SendOutcome::ok);  // kept for a file
  EXPECT_EQ(bus.counts(one).lag, 0U);
  map(other);
  for (const PortId from : {one, other, one, other}) {
    EXPECT_EQ(send(from, "ten bytes!"), SendOutcome::ok);
  }
  bus.refresh(now);
  EXPECT_EQ(bus.counts(one).lag + bus.counts(one).dropped, 2U);
  EXPECT_EQ(bus.counts(other).lag + bus.counts(other).dropped, 3U);
  readers[one].lost = 2;  // its own, and it has not seen that
  read_all(one);
  read_all(other);
  EXPECT_EQ(bus.counts(one).dropped, 0U);
  EXPECT_EQ(bus.counts(one).delivered, 2U);
  EXPECT_EQ(bus.counts(other).delivered + bus.counts(other).dropped, 3U);
  EXPECT_EQ(bus.log_bytes(), 0U);
}

TEST_F(BusMapped, finds_room_that_was_made_without_telling) {
  set({.lossless = true, .depth_bytes = kCost});
  const PortId sender = join();
  const PortId mapped = join_mapped();
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  readers[mapped].at = 10;
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
}

TEST_F(BusMapped, is_cut_off_only_where_it_has_really_not_read) {
  set({.lossless = true, .depth_bytes = kCost, .evict = Micros(100)});
  const PortId sender = join();
  join_mapped();
  const PortId quick = join_mapped();
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::ok);
  EXPECT_EQ(send(sender, "ten bytes!"), SendOutcome::full);
  readers[quick].at = log.end();
  now += Micros(200);
  bus.tick(now);
  EXPECT_TRUE(listeners[1]->cut_off);
  EXPECT_FALSE(listeners[2]->cut_off);
  EXPECT_EQ(bus.counts(quick).delivered, 1U);
}

TEST_F(BusMapped, gives_up_receiving_with_what_it_has_read_counted) {
  const PortId sender = join();
  const PortId mapped = join_mapped();
  (void)send(sender, "one");
  (void)send(sender, "two");
  readers[mapped].at = 3;
  bus.give_up(mapped, {.receive = false, .send = true}, now);
  EXPECT_EQ(bus.counts(mapped).delivered, 1U);
  EXPECT_EQ(bus.counts(mapped).dropped, 1U);
  EXPECT_EQ(bus.log_bytes(), 0U);
  EXPECT_EQ(send(sender, "three"), SendOutcome::ok);
  EXPECT_EQ(bus.counts(mapped).lag, 0U);
}

TEST_F(BusMapped, leaves_with_what_it_has_read_counted) {
  const PortId sender = join();
  const PortId mapped = join_mapped();
  (void)send(sender, "one");
  (void)send(sender, "two");
  readers[mapped].at = 3;
  bus.leave(mapped, now);
  EXPECT_EQ(bus.totals().delivered, 1U);
  EXPECT_EQ(bus.totals().dropped, 1U);
}

TEST_F(BusMapped, keeps_history_in_the_log) {
  set({.history = 2});
  const PortId sender = join();
  join_mapped();
  (void)send(sender, "one");
  (void)send(sender, "two");
  (void)send(sender, "three");
  const PortId late = join();
  EXPECT_EQ(read(late), "two");
  map(late);
  EXPECT_EQ(log.text.substr(readers[late].at), "three");
  EXPECT_EQ(sequences[late], 2U);
}

// --- apart: the log is its sender's ---

TEST_F(BusMapped, reads_on_apart_what_it_had_not_read) {
  const PortId sender = join();
  const PortId mapped = join();
  const PortId file = join();
  map(mapped);
  (void)send(sender, "one");
  (void)send(sender, "three");
  readers[mapped].at = 3;
  const auto unread = bus.part(now);
  ASSERT_EQ(unread.size(), 1U);
  EXPECT_EQ(unread[0].port, mapped);
  EXPECT_EQ(unread[0].messages, 1U);
  EXPECT_EQ(unread[0].bytes, 5U);
  EXPECT_FALSE(bus.is_shared());
  EXPECT_EQ(bus.counts(mapped).delivered, 1U);
  (void)send(sender, "four");
  EXPECT_EQ(bus.counts(mapped).lag, 0U);
  for (const std::string_view text : {"one", "three", "four"}) {
    EXPECT_EQ(read(file), text);
  }
}

TEST_F(BusMapped, is_set_apart_with_what_it_is_known_to_have_lost) {
  set({.depth_bytes = 2 * kCost});
  const PortId sender = join();
  const PortId mapped = join();
  map(mapped);
  for (int i = 0; i < 7; ++i) {
    (void)send(sender, "0123456789");
  }
  readers[mapped].at = 30;
  readers[mapped].lost = 2;
  bus.refresh(now);
  EXPECT_EQ(bus.counts(mapped).delivered, 1U);
  EXPECT_EQ(bus.counts(mapped).dropped, 4U);
  const auto unread = bus.part(now);
  EXPECT_EQ(unread[0].messages, 2U);
  EXPECT_EQ(unread[0].told_lost, 4U);  // two behind it, and two that it will find missing
}

TEST_F(BusMapped, is_counted_apart_as_it_is_told) {
  const PortId sender = join();
  const PortId mapped = join();
  (void)bus.set_apart(mapped, 0, now);
  bus.count_sent(sender, 5, 50);
  const int messages = listeners[1]->messages;
  bus.count_apart(mapped, {.lag = 5}, now);
  EXPECT_EQ(listeners[1]->messages, messages + 1);
  EXPECT_TRUE(bus.readable(mapped));
  bus.count_apart(mapped, {.delivered = 3, .delivered_bytes = 30, .dropped = 1}, now);
  EXPECT_EQ(bus.counts(mapped).lag, 1U);
  EXPECT_EQ(bus.totals().sent_bytes, 50U);
  EXPECT_EQ(bus.totals().delivered, 3U);
  EXPECT_EQ(bus.totals().lag, 1U);
  bus.leave(mapped, now);
  EXPECT_EQ(bus.totals().dropped, 2U);
  EXPECT_EQ(bus.totals().lag, 0U);
  EXPECT_EQ(bus.check_invariants(), "");
}

TEST_F(BusMapped, is_set_apart_where_its_messages_still_lie) {
  const PortId sender = join();
  const PortId reader = join();
  (void)send(sender, "before");
  for (const std::uint64_t number : {0U, 1U, 2U}) {
    bus.copy(sender, std::as_bytes(std::span("copy", 4)),
             {.begin = number * 32, .end = number * 32 + 32, .sequence = number}, now);
  }
  const Bus::Unread unread = bus.set_apart(reader, 32, now);
  EXPECT_EQ(unread.messages, 2U);
  EXPECT_EQ(unread.begin, 32U);
  EXPECT_EQ(unread.sequence, 1U);
  EXPECT_EQ(bus.counts(reader).dropped, 2U);
  EXPECT_EQ(bus.counts(reader).lag, 0U);
  EXPECT_EQ(bus.totals().sent, 1U);
}

TEST_F(BusMapped, comes_back_to_what_is_sent_afterwards) {
  const PortId sender = join();
  const PortId mapped = join();
  const PortId again = join();
  for (const PortId port : {mapped, again}) {
    (void)bus.set_apart(port, 0, now);
    bus.count_apart(port, {.lag = 2}, now);
  }
  (void)send(sender, "for nobody");
  map(mapped);
  bus.unmap(again, now);
  (void)send(sender, "for both");
  EXPECT_EQ(bus.counts(mapped).lag, 3U);
  EXPECT_EQ(log.text.substr(readers[mapped].at), "for both");
  EXPECT_EQ(bus.counts(again).dropped, 2U);
  EXPECT_EQ(read(again), "for both");
  bus.forget_apart(mapped);
  EXPECT_EQ(bus.counts(mapped).lag, 1U);
}

TEST_F(BusMapped, counts_what_could_not_be_copied) {
  const PortId sender = join();
  const PortId file = join();
  const PortId apart = join();
  (void)bus.set_apart(apart, 0, now);
  bus.miss(sender, 3);
  EXPECT_EQ(bus.counts(file).dropped, 3U);
  EXPECT_EQ(bus.counts(apart).dropped, 0U);
  EXPECT_EQ(bus.counts(sender).dropped, 0U);
}

}  // namespace
}  // namespace flowfs::bus
