// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include "lane_fixture.hpp"

namespace flowfs::pool {
namespace {

using test::bytes;
using test::Lane;
using Outcome = LaneWriter::Outcome;

TEST(Lane, delivers_messages_whole_and_in_order) {
  Lane lane(test::geometry(100));
  EXPECT_EQ(lane.read(), "(empty)");
  EXPECT_EQ(lane.writer.write(bytes("one")), Outcome::ok);
  EXPECT_EQ(lane.writer.write(bytes("a longer second")), Outcome::ok);
  EXPECT_EQ(lane.read(), "one");
  EXPECT_EQ(lane.read(), "a longer second");
  EXPECT_EQ(lane.read(), "(empty)");
}

TEST(Lane, shows_a_batch_all_at_once) {
  Lane lane(test::geometry(100));
  ASSERT_EQ(lane.writer.stage(bytes("1")), Outcome::ok);
  ASSERT_EQ(lane.writer.stage(bytes("2")), Outcome::ok);
  EXPECT_EQ(lane.read(), "(empty)");
  lane.writer.publish();
  EXPECT_EQ(lane.read(), "1");
  EXPECT_EQ(lane.read(), "2");
  EXPECT_EQ(lane.read(), "(empty)");
}

TEST(Lane, takes_back_what_was_only_staged) {
  Lane lane(test::geometry(100));
  ASSERT_EQ(lane.writer.write(bytes("kept")), Outcome::ok);
  ASSERT_EQ(lane.writer.stage(bytes("gone")), Outcome::ok);
  ASSERT_EQ(lane.writer.stage(bytes("gone too, and longer than what follows")), Outcome::ok);
  lane.writer.abandon();
  lane.writer.publish();
  ASSERT_EQ(lane.writer.write(bytes("next")), Outcome::ok);
  EXPECT_EQ(lane.read(), "kept");
  EXPECT_EQ(lane.read(), "next");
  EXPECT_EQ(lane.read(), "(empty)");
}

TEST(Lane, is_full_until_the_reader_publishes) {
  Lane lane(test::geometry(496));
  int written = 0;
  while (lane.writer.write(bytes(std::string(496, 'x'))) == Outcome::ok) {
    ++written;
  }
  EXPECT_EQ(written, 7) << "512 bytes a record, and 16 of 4096 stay free";
  EXPECT_EQ(lane.read().size(), 496U);
  EXPECT_EQ(lane.writer.room_for(496), Outcome::full);
  lane.cursors.publish(lane.reader.position());
  EXPECT_EQ(lane.writer.room_for(496), Outcome::ok);
}

TEST(Lane, goes_round_the_ring_with_padding) {
  Lane lane(test::geometry(400));
  for (int i = 0; i < 500; ++i) {
    const std::string message(static_cast<std::size_t>(i) % 400 + 1,
                              static_cast<char>('a' + i % 26));
    ASSERT_EQ(lane.writer.write(bytes(message)), Outcome::ok) << i;
    ASSERT_EQ(lane.read(), message) << i;
    lane.cursors.publish(lane.reader.position());
  }
  EXPECT_EQ(lane.writer.position().hot, lane.reader.position().hot);
  EXPECT_EQ(lane.writer.position().sequence, 500U);
}

TEST(Lane, fits_a_record_that_ends_with_the_ring) {
  Lane lane(test::geometry(496));
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(lane.writer.write(bytes(std::string(496, 'x'))), Outcome::ok);
    ASSERT_EQ(lane.read(), std::string(496, 'x'));
    lane.cursors.publish(lane.reader.position());
  }
  EXPECT_EQ(lane.writer.position().hot, 51'200U) << "no padding was needed";
}

TEST(Lane, sends_long_messages_through_the_bulk_ring) {
  Lane lane(test::geometry(10'000));
  for (int i = 0; i < 50; ++i) {
    const std::string message(9'000 + static_cast<std::size_t>(i) * 20,
                              static_cast<char>('a' + i % 26));
    ASSERT_EQ(lane.writer.write(bytes(message)), Outcome::ok) << i;
    ASSERT_EQ(lane.writer.write(bytes("short")), Outcome::ok) << i;
    ASSERT_EQ(lane.read(), message) << i;
    ASSERT_EQ(lane.read(), "short") << i;
    lane.cursors.publish(lane.reader.position());
  }
  EXPECT_EQ(lane.writer.position().bulk, lane.reader.position().bulk);
}

TEST(Lane, always_takes_the_longest_message_when_empty) {
  for (const std::size_t mtu : {497UZ, 5'000UZ, 8'192UZ, 917'504UZ}) {
    Lane lane(test::geometry(mtu));
    for (int i = 0; i < 7; ++i) {
      const std::string first(1 + mtu * static_cast<std::size_t>(i) / 7, 'f');
      ASSERT_EQ(lane.writer.write(bytes(first)), Outcome::ok);
      ASSERT_EQ(lane.read(), first);
      lane.cursors.publish(lane.reader.position());
      ASSERT_EQ(lane.writer.write(bytes(std::string(mtu, 'm'))), Outcome::ok) << mtu << ' ' << i;
      ASSERT_EQ(lane.read().size(), mtu);
      lane.cursors.publish(lane.reader.position());
    }
  }
}

TEST(Lane, ends_where_it_was_closed) {
  Lane lane(test::geometry(100));
  ASSERT_EQ(lane.writer.write(bytes("before")), Outcome::ok);
  const auto end = find_lane_end(lane.reader);
  ASSERT_TRUE(end.has_value());
  lane.reader.set_end(end->hot);
  ASSERT_EQ(lane.writer.write(bytes("after")), Outcome::ok);
  EXPECT_EQ(lane.read(), "before");
  EXPECT_EQ(lane.read(), "(end)");
}

TEST(Lane, ends_behind_padding_as_well) {
  Lane lane(test::geometry(496));
  for (int i = 0; i < 7; ++i) {
    ASSERT_EQ(lane.writer.write(bytes(std::string(490, 'x'))), Outcome::ok);
    ASSERT_EQ(lane.read().size(), 490U);
  }
  ASSERT_EQ(lane.writer.write(bytes("x")), Outcome::ok);
  ASSERT_EQ(lane.read(), "x");
  lane.cursors.publish(lane.reader.position());
  LaneReader behind = lane.reader;  // in front of the padding
  ASSERT_EQ(lane.writer.write(bytes(std::string(496, 'y'))), Outcome::ok);
  const auto end = find_lane_end(lane.reader);
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->hot, lane.writer.position().hot);
  behind.set_end(end->hot);
  LaneReader::Record record;
  ASSERT_EQ(behind.peek(record), LaneReader::Outcome::record);
  EXPECT_EQ(record.payload.size(), 496U);
  behind.pop();
  EXPECT_EQ(behind.peek(record), LaneReader::Outcome::end);
}

TEST(Lane, does_not_see_a_record_that_is_being_written) {
  Lane lane(test::geometry(100));
  ASSERT_EQ(lane.writer.stage(bytes("half")), Outcome::ok);
  ASSERT_TRUE(find_lane_end(lane.reader).has_value());
  EXPECT_EQ(find_lane_end(lane.reader)->hot, 0U);
}

TEST(Lane, is_continued_by_another_writer_and_another_reader) {
  Lane lane(test::geometry(5'000));
  ASSERT_EQ(lane.writer.write(bytes(std::string(4'000, 'x'))), Outcome::ok);
  ASSERT_EQ(lane.writer.write(bytes("unread")), Outcome::ok);
  ASSERT_EQ(lane.read().size(), 4'000U);
  lane.cursors.publish(lane.reader.position());

  LaneWriter writer(lane.geometry, lane.sender.bytes(), lane.receiver.bytes(), test::kFirst,
                    lane.writer.position());
  ASSERT_EQ(writer.write(bytes("by the second")), Outcome::ok);
  Position cursors = lane.reader.position();
  cursors.sequence = FLOWFS_SEQUENCE_ANY;  // cursors in shared memory carry none
  LaneReader reader(lane.geometry, lane.sender.bytes(), cursors);
  LaneReader::Record record;
  ASSERT_EQ(reader.peek(record), LaneReader::Outcome::record);
  EXPECT_EQ(test::text(record.payload), "unread");
  EXPECT_EQ(record.sequence, 1U);
  reader.pop();
  ASSERT_EQ(reader.peek(record), LaneReader::Outcome::record);
  EXPECT_EQ(test::text(record.payload), "by the second");
}

TEST(Lane, ignores_cursors_of_another_generation) {
  Lane lane(test::geometry(496));
  while (lane.writer.write(bytes(std::string(496, 'x'))) == Outcome::ok) {
  }
  CursorPublisher old(lane.geometry, lane.receiver.header().cursors, Generation{7},
                      {.hot = 1'000'000, .bulk = 0, .sequence = 0});
  EXPECT_EQ(lane.writer.room_for(496), Outcome::full);
  EXPECT_EQ(lane.writer.refresh(), Outcome::ok);
  EXPECT_EQ(lane.writer.reader_hot(), 0U);
}

TEST(Lane, publishes_cursors_every_quarter_of_a_ring) {
  Lane lane(test::geometry(240));
  int published = 0;
  for (int i = 0; i < 1'600; ++i) {
    ASSERT_EQ(lane.writer.write(bytes(std::string(240, 'x'))), Outcome::ok);
    ASSERT_EQ(lane.read().size(), 240U);
    if (lane.cursors.due(lane.reader.position())) {
      lane.cursors.publish(lane.reader.position());
      ++published;
    }
  }
  EXPECT_EQ(published, 400);
}

TEST(Prefetch, asks_for_each_line_once_and_not_beyond_what_may_be_written) {
  using Ahead = Prefetch<Intent::write>;
  const std::vector<std::byte> ring(4'096);
  Ahead dense(ring, 0);
  EXPECT_EQ(dense.follow(0), Ahead::kDistance / Ahead::kLine);
  unsigned lines = 0;
  for (std::uint64_t position = 0; position <= 10 * ring.size(); position += 80) {
    lines += dense.follow(position);
  }
  EXPECT_EQ(lines, 10 * ring.size() / Ahead::kLine);

  Ahead limited(ring, 0);
  EXPECT_EQ(limited.follow(0, Ahead::kLine), 1U);
  EXPECT_EQ(limited.follow(16, Ahead::kLine), 0U);
}

TEST(Prefetch, begins_anew_behind_a_long_record) {
  using Ahead = Prefetch<Intent::read>;
  const std::vector<std::byte> ring(4'096);
  Ahead ahead(ring, 0);
  for (int record = 1; record < 20; ++record) {
    EXPECT_EQ(ahead.follow(std::uint64_t{512} * static_cast<unsigned>(record)),
              Ahead::kDistance / Ahead::kLine);
  }
}

TEST(Prefetch, asks_for_a_few_lines_whatever_the_position) {
  using Ahead = Prefetch<Intent::read>;
  const std::vector<std::byte> ring(4'096);
  for (const std::uint64_t begin : {std::uint64_t{0}, UINT64_MAX / 2, UINT64_MAX - 15}) {
    Ahead ahead(ring, begin);
    for (const std::uint64_t position :
         {UINT64_MAX - 15, std::uint64_t{16}, UINT64_MAX / 2, UINT64_MAX - 1'023, begin}) {
      EXPECT_LE(ahead.follow(position), Ahead::kDistance / Ahead::kLine);
    }
  }
}

}  // namespace
}  // namespace flowfs::pool
