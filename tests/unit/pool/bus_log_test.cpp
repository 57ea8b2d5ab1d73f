// SPDX-License-Identifier: BSD-3-Clause
#include "pool/bus_log.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "lane_fixture.hpp"

namespace flowfs::pool {
namespace {

using test::bytes;
using test::text;
using Outcome = LogReader::Outcome;

constexpr std::uint64_t kRing = 4096;

class BusLog : public ::testing::Test {
 protected:
  void send(std::string_view message, std::uint32_t origin = 1) {
    writer.make_room(message.size());
    writer.append(bytes(message), origin);
    writer.publish();
  }
  static std::string take(LogReader& reader) {
    LogReader::Record record;
    if (reader.peek(record) != Outcome::record) {
      return "-";
    }
    std::vector<std::byte> copy(record.payload.size());
    if (!reader.copy(copy)) {
      return "overtaken";
    }
    reader.pop();
    return text(copy);
  }
  static Outcome outcome(LogReader& reader) {
    LogReader::Record record;
    return reader.peek(record);
  }
  flowfs_log& header() { return *reinterpret_cast<flowfs_log*>(memory.bytes().data()); }
  flowfs_log_record& record_at(std::uint64_t position) {
    return *reinterpret_cast<flowfs_log_record*>(memory.bytes().data() + FLOWFS_LOG_HEADER_BYTES +
                                                 position % kRing);
  }

  test::Memory memory{FLOWFS_LOG_HEADER_BYTES + kRing};
  LogWriter writer{memory.bytes()};
  LogReader reader{memory.bytes(), 0, 0};
};

TEST_F(BusLog, is_read_by_each_at_its_own_place) {
  LogReader other{memory.bytes(), 0, 0};
  send("one");
  send("three words here");
  EXPECT_EQ(take(reader), "one");
  EXPECT_EQ(take(reader), "three words here");
  EXPECT_EQ(take(reader), "-");
  EXPECT_EQ(take(other), "one");
  EXPECT_EQ(reader.sequence(), 2U);
  EXPECT_EQ(reader.position(), writer.position());
}

TEST_F(BusLog, shows_a_batch_when_it_is_published) {
  writer.append(bytes("a"), 1);
  writer.append(bytes("b"), 1);
  EXPECT_EQ(outcome(reader), Outcome::empty);
  writer.publish();
  EXPECT_EQ(take(reader), "a");
  EXPECT_EQ(take(reader), "b");
}

TEST_F(BusLog, steps_over_the_readers_own_records) {
  LogReader mine{memory.bytes(), 0, 0, 7};
  send("own", 7);
  send("other", 8);
  send("own again", 7);
  EXPECT_EQ(take(mine), "other");
  EXPECT_EQ(take(mine), "-");
  EXPECT_EQ(mine.lost(), 0U);
  EXPECT_EQ(mine.position(), writer.position());
}

TEST_F(BusLog, counts_what_was_overwritten_before_it_was_read) {
  for (int i = 0; i < 1000; ++i) {
    send(std::to_string(i));
  }
  std::uint64_t got = 0;
  std::string last;
  for (std::string next = take(reader); next != "-"; next = take(reader)) {
    last = next;
    ++got;
  }
  EXPECT_EQ(last, "999");
  EXPECT_EQ(got, kRing / 32);  // a record of three digits
  EXPECT_EQ(reader.lost() + got, 1000U);
}

TEST_F(BusLog, does_not_believe_a_record_overtaken_while_it_is_copied) {
  send("old");
  LogReader::Record record;
  ASSERT_EQ(reader.peek(record), Outcome::record);
  while (writer.floor() == 0) {
    send("new");
  }
  EXPECT_FALSE(reader.intact());
  std::vector<std::byte> copy(record.payload.size());
  EXPECT_TRUE(reader.knows_sequence());
  EXPECT_FALSE(reader.copy(copy));
  EXPECT_FALSE(reader.knows_sequence());
  EXPECT_EQ(take(reader), "new");
  EXPECT_TRUE(reader.knows_sequence());
  EXPECT_EQ(reader.lost(), 1U);
}

TEST_F(BusLog, gives_up_nothing_unasked_where_nothing_may_be_lost) {
  while (writer.has_room(100)) {
    writer.append(bytes(std::string(100, 'x')), 1);
    writer.publish();
  }
  EXPECT_EQ(writer.floor(), 0U);
  EXPECT_EQ(take(reader), std::string(100, 'x'));
  writer.give_up_to(reader.position());
  EXPECT_TRUE(writer.has_room(100));
}

TEST_F(BusLog, goes_on_with_the_newest_when_asked) {
  send("a");
  send("b");
  send("c");
  reader.skip_to_newest();
  EXPECT_EQ(take(reader), "c");
  EXPECT_EQ(take(reader), "-");
  reader.skip_to_newest();
  EXPECT_EQ(take(reader), "-");
  send("d");
  EXPECT_EQ(take(reader), "d");
  EXPECT_EQ(reader.lost(), 0U);
}

TEST_F(BusLog, lends_the_place_of_a_message) {
  const auto place = writer.loan(100);
  std::memset(place.data(), 'y', 60);
  EXPECT_EQ(outcome(reader), Outcome::empty);
  writer.stage_loan(60, 1);
  writer.publish();
  EXPECT_EQ(take(reader), std::string(60, 'y'));
  (void)writer.loan(10);
  writer.cancel_loan();
  send("z");
  EXPECT_EQ(take(reader), "z");
}

TEST_F(BusLog, ends_where_it_was_closed) {
  send("a");
  const std::uint64_t end = writer.position();
  send("b");
  reader.set_end(end);
  EXPECT_EQ(take(reader), "a");
  EXPECT_EQ(outcome(reader), Outcome::end);
}

TEST_F(BusLog, is_read_to_its_end_though_its_writer_takes_the_tail_back) {
  send("a");
  send("b");
  reader.set_end(writer.position());
  header().tail = 0;
  EXPECT_EQ(take(reader), "a");
  EXPECT_EQ(take(reader), "b");
  EXPECT_EQ(outcome(reader), Outcome::end);
}

TEST_F(BusLog, says_how_many_bytes_were_sent) {
  send("a");
  (void)writer.loan(10);
  writer.stage_loan(3, 1);
  EXPECT_EQ(header().sent_bytes, 1U);
  writer.publish();
  EXPECT_EQ(header().sent_bytes, 4U);
}

// Against a queue, with messages of every length that the ring can hold.
TEST_F(BusLog, holds_what_a_queue_holds) {
  std::mt19937 random{5};
  std::deque<std::string> model;
  for (int i = 0; i < 20'000; ++i) {
    std::string message(1 + random() % 2'000, static_cast<char>('a' + random() % 26));
    if (random() % 2 == 0 && writer.can_hold(message.size()) && writer.has_room(message.size())) {
      ASSERT_LE(writer.reach(message.size()), kRing);
      writer.append(bytes(message), 3);
      writer.publish();
      model.push_back(std::move(message));
    } else if (!model.empty()) {
      ASSERT_EQ(take(reader), model.front());
      model.pop_front();
      writer.give_up_to(reader.position());
    } else {
      ASSERT_EQ(outcome(reader), Outcome::empty);
    }
  }
  EXPECT_EQ(reader.lost(), 0U);
}

// One lie each, and what is told from then on.
TEST_F(BusLog, is_corrupt_where_no_honest_writer_wrote_it) {
  using Lie = void (*)(flowfs_log&, flowfs_log_record&);
  const Lie lies[] = {
      [](flowfs_log& /*log*/, flowfs_log_record& record) { record.length = 0; },
      [](flowfs_log& /*log*/, flowfs_log_record& record) { record.length = 5'000; },
      [](flowfs_log& /*log*/, flowfs_log_record& record) {
        record.length = 100;
      },  // behind the tail
      [](flowfs_log& /*log*/, flowfs_log_record& record) { record.sequence = 1; },
      [](flowfs_log& /*log*/, flowfs_log_record& record) {
        record.length = FLOWFS_LOG_PADDING | 16;
      },
      [](flowfs_log& /*log*/, flowfs_log_record& record) {
        record.length = FLOWFS_LOG_PADDING | 4096;
      },  // the whole ring
      [](flowfs_log& log, flowfs_log_record& /*record*/) { log.tail = kRing + 16; },
      [](flowfs_log& log, flowfs_log_record& /*record*/) { log.floor = 8; },
      [](flowfs_log& log, flowfs_log_record& /*record*/) {
        log.floor = 1 << 20;
      },  // behind the tail
  };
  int number = 0;
  for (const Lie lie : lies) {
    SCOPED_TRACE(number++);
    std::memset(memory.bytes().data(), 0, memory.bytes().size());
    LogWriter fresh{memory.bytes()};
    fresh.append(bytes("x"), 1);
    fresh.publish();
    LogReader lied_to{memory.bytes(), 0, 0};
    lie(header(), record_at(0));
    EXPECT_EQ(outcome(lied_to), Outcome::corrupt);
    EXPECT_EQ(outcome(lied_to), Outcome::corrupt);
  }
}

TEST_F(BusLog, is_corrupt_where_the_tail_goes_back) {
  send("a");
  send("b");
  EXPECT_EQ(take(reader), "a");
  EXPECT_EQ(take(reader), "b");
  header().tail = 32;
  EXPECT_EQ(outcome(reader), Outcome::corrupt);
}

TEST(BusLogMemory, is_made_with_its_page_and_filled_as_it_is_asked_for) {
  const std::uint64_t ring = Log::ring_for(1 << 20, 1 << 20);
  auto log = Log::create(ring, 3);
  ASSERT_TRUE(log.has_value());
  EXPECT_EQ(log->ring_bytes(), ring);
  EXPECT_EQ(log->header().magic, FLOWFS_LOG_MAGIC);
  EXPECT_EQ(log->header().generation, 3U);
  LogWriter writer{log->bytes()};
  EXPECT_TRUE(writer.can_hold(1 << 20));
  EXPECT_TRUE(log->populate(writer.reach(1 << 20)).has_value());
  EXPECT_TRUE(log->populate(ring).has_value());
}

}  // namespace
}  // namespace flowfs::pool
