// SPDX-License-Identifier: BSD-3-Clause
// Messages written in place in a lane, and records that name a block of a pool.
#include <gtest/gtest.h>

#include <cstring>

#include "lane_fixture.hpp"

namespace flowfs::pool {
namespace {

using test::bytes;
using test::Lane;
using Outcome = LaneWriter::Outcome;

// Lends `lent` bytes, fills them and stages the first `used`. Whether they had to be moved.
bool write_in_place(Lane& lane, std::size_t lent, std::size_t used, char fill = 'x') {
  std::span<std::byte> place;
  EXPECT_EQ(lane.writer.loan(lent, place), Outcome::ok);
  EXPECT_EQ(place.size(), lent);
  std::memset(place.data(), fill, place.size());
  const bool moved = lane.writer.stage_loan(used);
  lane.writer.publish();
  return moved;
}

TEST(LaneLoan, is_seen_when_it_is_published_and_not_before) {
  Lane lane(test::geometry(5'000));
  for (const std::size_t length : {100U, 4'000U}) {
    std::span<std::byte> place;
    ASSERT_EQ(lane.writer.loan(length, place), Outcome::ok);
    EXPECT_TRUE(lane.writer.has_loan());
    std::memset(place.data(), 'x', place.size());
    EXPECT_EQ(lane.read(), "(empty)");
    EXPECT_FALSE(lane.writer.stage_loan(length));
    EXPECT_FALSE(lane.writer.has_loan());
    EXPECT_EQ(lane.read(), "(empty)");
    lane.writer.publish();
    EXPECT_EQ(lane.read(), std::string(length, 'x'));
    EXPECT_EQ(lane.read(), "(empty)");
  }
}

TEST(LaneLoan, lies_where_the_reader_finds_it) {
  Lane lane(test::geometry(5'000));
  for (const std::size_t length : {100U, 4'000U}) {
    std::span<std::byte> place;
    ASSERT_EQ(lane.writer.loan(length, place), Outcome::ok);
    ASSERT_FALSE(lane.writer.stage_loan(length));
    lane.writer.publish();
    LaneReader::Record record;
    ASSERT_EQ(lane.reader.peek(record), LaneReader::Outcome::record);
    EXPECT_EQ(record.payload.data(), place.data());
    lane.reader.pop();
  }
}

TEST(LaneLoan, may_be_used_in_part) {
  Lane lane(test::geometry(5'000));
  EXPECT_FALSE(write_in_place(lane, 300, 1));
  EXPECT_FALSE(write_in_place(lane, 4'000, 1'000));
  EXPECT_EQ(lane.read().size(), 1U);
  EXPECT_EQ(lane.read().size(), 1'000U);
  EXPECT_EQ(lane.writer.position().bulk, 1'024U) << "only what was used is gone";
}

TEST(LaneLoan, is_moved_where_a_short_message_may_not_stay) {
  Lane lane(test::geometry(5'000));
  EXPECT_TRUE(write_in_place(lane, 5'000, 496));
  EXPECT_EQ(lane.read(), std::string(496, 'x'));
  EXPECT_EQ(lane.writer.position().bulk, 0U);
  EXPECT_FALSE(write_in_place(lane, 5'000, 497));
  EXPECT_EQ(lane.read(), std::string(497, 'x'));
}

TEST(LaneLoan, leaves_nothing_when_it_is_cancelled) {
  Lane lane(test::geometry(5'000));
  for (const std::size_t length : {300U, 4'000U}) {
    std::span<std::byte> place;
    ASSERT_EQ(lane.writer.loan(length, place), Outcome::ok);
    std::memset(place.data(), 0xff, place.size());
    lane.writer.cancel_loan();
    ASSERT_EQ(lane.writer.write(bytes("instead")), Outcome::ok);
    EXPECT_EQ(lane.read(), "instead");
    EXPECT_EQ(lane.read(), "(empty)");
  }
}

TEST(LaneLoan, ends_with_what_was_staged) {
  Lane lane(test::geometry(5'000));
  ASSERT_EQ(lane.writer.stage(bytes("staged")), Outcome::ok);
  std::span<std::byte> place;
  ASSERT_EQ(lane.writer.loan(100, place), Outcome::ok);
  lane.writer.abandon();
  EXPECT_FALSE(lane.writer.has_loan());
  ASSERT_EQ(lane.writer.write(bytes("other")), Outcome::ok);
  EXPECT_EQ(lane.read(), "other");
}

// What a writer that is killed leaves: the lane ends where the loan began.
TEST(LaneLoan, is_not_there_for_whoever_looks_for_the_end) {
  Lane lane(test::geometry(5'000));
  ASSERT_EQ(lane.writer.write(bytes("last")), Outcome::ok);
  const std::uint64_t end = lane.writer.position().hot;
  for (const std::size_t length : {300U, 4'000U}) {
    std::span<std::byte> place;
    ASSERT_EQ(lane.writer.loan(length, place), Outcome::ok);
    std::memset(place.data(), 0xff, place.size());
    EXPECT_EQ(find_lane_end(lane.reader).value().hot, end);
    lane.writer.cancel_loan();
  }
}

TEST(LaneLoan, waits_for_room_as_a_message_does) {
  Lane lane(test::geometry(496));
  while (lane.writer.write(bytes(std::string(496, 'x'))) == Outcome::ok) {
  }
  std::span<std::byte> place;
  EXPECT_EQ(lane.writer.loan(496, place), Outcome::full);
  EXPECT_FALSE(lane.writer.has_loan());
  EXPECT_EQ(lane.read().size(), 496U);
  lane.cursors.publish(lane.reader.position());
  EXPECT_EQ(lane.writer.loan(496, place), Outcome::ok);
}

// However little of a long loan is used there must be room to move it to.
TEST(LaneLoan, keeps_room_to_be_moved) {
  Lane lane(test::geometry(5'000));
  while (lane.writer.room_for(496) == Outcome::ok) {
    ASSERT_EQ(lane.writer.write(bytes(std::string(16, 'x'))), Outcome::ok);
  }
  std::span<std::byte> place;
  EXPECT_EQ(lane.writer.room_for(5'000), Outcome::ok);
  EXPECT_EQ(lane.writer.room_for(5'000, LaneWriter::Use::loan), Outcome::full);
  EXPECT_EQ(lane.writer.loan(5'000, place), Outcome::full);
}

TEST(LaneLoan, goes_round_both_rings) {
  Lane lane(test::geometry(5'000));
  for (unsigned i = 0; i < 1'000; ++i) {
    const std::size_t lent = 1 + i * 37 % 5'000;
    const std::size_t used = 1 + i * 101 % lent;
    const char fill = static_cast<char>('a' + i % 26);
    write_in_place(lane, lent, used, fill);
    ASSERT_EQ(lane.read(), std::string(used, fill)) << i;
    lane.cursors.publish(lane.reader.position());
  }
  EXPECT_GT(lane.writer.position().bulk, 10 * lane.geometry.bulk_bytes);
}

TEST(LaneWriter, keeps_its_place_when_the_peer_has_another_segment) {
  Lane lane(test::geometry(496));
  std::span<std::byte> place;
  ASSERT_EQ(lane.writer.loan(7, place), Outcome::ok);
  const test::Memory next(lane.geometry.segment_bytes());
  lane.writer.watch(next.bytes());
  std::memcpy(place.data(), "written", 7);
  EXPECT_FALSE(lane.writer.stage_loan(7));
  lane.writer.publish();
  EXPECT_EQ(lane.read(), "written");
  while (lane.writer.write(bytes(std::string(496, 'x'))) == Outcome::ok) {
    ASSERT_EQ(lane.read().size(), 496U);
    lane.cursors.publish(lane.reader.position());  // where it no longer looks
  }
  const CursorPublisher cursors(lane.geometry, segment_header(next.bytes()).cursors, test::kFirst,
                                lane.reader.position());
  EXPECT_EQ(lane.writer.room_for(496), Outcome::ok);
}

constexpr flowfs_block kBlock{
    .pool = 77, .block = 1'234, .generation = 0xfffffff0U, .offset = 64, .length = 5'000};

TEST(LaneBlock, arrives_in_its_turn) {
  Lane lane(test::geometry(5'000));
  ASSERT_EQ(lane.writer.write(bytes("before")), Outcome::ok);
  ASSERT_EQ(lane.writer.stage_block(kBlock), Outcome::ok);
  ASSERT_EQ(lane.writer.stage(bytes("behind")), Outcome::ok);
  lane.writer.publish();
  EXPECT_EQ(lane.read(), "before");
  LaneReader::Record record;
  ASSERT_EQ(lane.reader.peek(record), LaneReader::Outcome::record);
  EXPECT_TRUE(record.payload.empty());
  ASSERT_TRUE(record.block.has_value());
  EXPECT_EQ(std::memcmp(&*record.block, &kBlock, sizeof kBlock), 0);
  lane.reader.pop();
  ASSERT_EQ(lane.reader.peek(record), LaneReader::Outcome::record);
  EXPECT_FALSE(record.block.has_value());
  EXPECT_EQ(test::text(record.payload), "behind");
}

TEST(LaneBlock, needs_room_like_any_record) {
  Lane lane(test::geometry(5'000));
  unsigned staged = 0;
  while (lane.writer.stage_block(kBlock) == Outcome::ok) {
    ++staged;
  }
  EXPECT_EQ(staged, (4'096U - 16) / 48);
  EXPECT_EQ(lane.writer.room_for(0, LaneWriter::Use::block), Outcome::full);
  EXPECT_EQ(lane.writer.room_for(1), Outcome::full);
  lane.writer.publish();
  for (; staged > 0; --staged) {
    EXPECT_EQ(lane.read(), "");
  }
  EXPECT_EQ(lane.read(), "(empty)");
}

}  // namespace
}  // namespace flowfs::pool
