// SPDX-License-Identifier: BSD-3-Clause
// What a lying peer may write, word by word: each lie is found out, and is final.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "lane_fixture.hpp"

namespace flowfs::pool {
namespace {

using test::bytes;
using test::Lane;
using Outcome = LaneWriter::Outcome;

struct Lie {
  const char* what;
  std::function<void(Lane&)> tell;
};

void PrintTo(const Lie& lie, std::ostream* out) { *out << lie.what; }

flowfs_bulk& bulk(Lane& lane) { return *reinterpret_cast<flowfs_bulk*>(&lane.record_at(0) + 1); }

class HostileWriter : public testing::TestWithParam<Lie> {};

TEST_P(HostileWriter, is_found_out_for_good) {
  Lane lane(test::geometry(5'000));
  ASSERT_EQ(lane.writer.write(bytes(std::string(4'000, 'x'))), Outcome::ok);
  ASSERT_EQ(lane.writer.write(bytes("second")), Outcome::ok);
  GetParam().tell(lane);
  EXPECT_EQ(lane.read(), "(corrupt)");
  EXPECT_EQ(lane.read(), "(corrupt)");
  EXPECT_FALSE(find_lane_end(lane.reader).has_value());
}

INSTANTIATE_TEST_SUITE_P(
    Lies, HostileWriter,
    testing::Values(
        Lie{"body longer than a descriptor", [](Lane& l) { l.record_at(0).commit = 18; }},
        Lie{"body shorter than a descriptor", [](Lane& l) { l.record_at(0).commit = 16; }},
        Lie{"an empty body", [](Lane& l) { l.record_at(0).commit = 1; }},
        Lie{"a body past the ring", [](Lane& l) { l.record_at(0).commit = 0x7fffffff; }},
        Lie{"an inline record over the limit",
            [](Lane& l) {
              l.record_at(0).flags = 0;
              l.record_at(0).commit = l.geometry.inline_bytes + 2;
            }},
        Lie{"unknown flags", [](Lane& l) { l.record_at(0).flags = 0x8001; }},
        Lie{"another sequence number", [](Lane& l) { l.record_at(0).sequence = 1; }},
        Lie{"padding at the beginning",
            [](Lane& l) {
              l.record_at(0).flags = 0;
              l.record_at(0).commit = FLOWFS_COMMIT_PADDING | (l.geometry.hot_bytes - 15);
            }},
        Lie{"a bulk message that is not long",
            [](Lane& l) { bulk(l).length = l.geometry.inline_bytes; }},
        Lie{"a bulk message past the mtu",
            [](Lane& l) { bulk(l).length = l.geometry.mtu_bytes + 1; }},
        Lie{"a bulk message of 4 GiB", [](Lane& l) { bulk(l).length = UINT32_MAX; }},
        Lie{"bulk that is not aligned", [](Lane& l) { bulk(l).position = 8; }},
        Lie{"bulk a ring ahead", [](Lane& l) { bulk(l).position = l.geometry.bulk_bytes; }},
        Lie{"bulk over the end of the ring",
            [](Lane& l) { bulk(l).position = l.geometry.bulk_bytes - 64; }},
        Lie{"bulk at the end of numbers", [](Lane& l) { bulk(l).position = UINT64_MAX - 63; }}));

class HostileBlock : public testing::TestWithParam<Lie> {};

TEST_P(HostileBlock, is_found_out_for_good) {
  Lane lane(test::geometry(5'000));
  ASSERT_EQ(lane.writer.stage_block(
                {.pool = 1, .block = 2, .generation = 3, .offset = 0, .length = 5'000}),
            Outcome::ok);
  lane.writer.publish();
  GetParam().tell(lane);
  EXPECT_EQ(lane.read(), "(corrupt)");
  EXPECT_EQ(lane.read(), "(corrupt)");
}

flowfs_block& block(Lane& lane) { return *reinterpret_cast<flowfs_block*>(&lane.record_at(0) + 1); }

INSTANTIATE_TEST_SUITE_P(
    Lies, HostileBlock,
    testing::Values(Lie{"no length", [](Lane& l) { block(l).length = 0; }},
                    Lie{"past the mtu",
                        [](Lane& l) { block(l).length = l.geometry.mtu_bytes + 1; }},
                    Lie{"a body that is longer", [](Lane& l) { l.record_at(0).commit += 1; }},
                    Lie{"a body that is shorter", [](Lane& l) { l.record_at(0).commit -= 1; }},
                    Lie{"in the bulk ring too", [](Lane& l) {
                          l.record_at(0).flags = FLOWFS_RECORD_BLOCK | FLOWFS_RECORD_BULK;
                        }}));

TEST(HostileLane, rejects_padding_of_the_wrong_length) {
  Lane lane(test::geometry(400));
  ASSERT_EQ(lane.writer.write(bytes("first")), Outcome::ok);
  ASSERT_EQ(lane.read(), "first");
  lane.record_at(32).commit = FLOWFS_COMMIT_PADDING | 1;
  EXPECT_EQ(lane.read(), "(corrupt)");
}

TEST(HostileLane, rejects_bulk_that_was_read_before) {
  Lane lane(test::geometry(5'000));
  ASSERT_EQ(lane.writer.write(bytes(std::string(4'000, 'x'))), Outcome::ok);
  ASSERT_EQ(lane.read().size(), 4'000U);
  ASSERT_EQ(lane.writer.write(bytes(std::string(4'000, 'y'))), Outcome::ok);
  reinterpret_cast<flowfs_bulk*>(&lane.record_at(32) + 1)->position = 0;
  EXPECT_EQ(lane.read(), "(corrupt)");
}

TEST(HostileLane, survives_a_ring_without_an_end) {
  Lane lane(test::geometry(1));
  // Every commit word says one byte, and every sequence number is right: it never ends.
  for (std::size_t offset = 0; offset < lane.geometry.hot_bytes; offset += 32) {
    lane.record_at(offset).commit = 2;
    lane.record_at(offset).sequence = offset / 32;
  }
  EXPECT_FALSE(find_lane_end(lane.reader).has_value());
}

TEST(HostileLane, bounds_what_a_walk_can_cost) {
  Lane lane(test::geometry(5'000));
  // Each record names another message of the mtu, always a little further on than the ring is long.
  const auto step = (lane.geometry.mtu_bytes + 63ULL) / 64 * 64;
  std::uint64_t position = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    if (position % lane.geometry.bulk_bytes + step > lane.geometry.bulk_bytes) {
      position += lane.geometry.bulk_bytes - position % lane.geometry.bulk_bytes;
    }
    flowfs_record& record = lane.record_at(i * 32);
    record = {
        .commit = sizeof(flowfs_bulk) + 1, .flags = FLOWFS_RECORD_BULK, .origin = 0, .sequence = i};
    const flowfs_bulk bulk{.position = position, .length = lane.geometry.mtu_bytes, .reserved = 0};
    std::memcpy(&record + 1, &bulk, sizeof bulk);
    position += step;
  }
  EXPECT_FALSE(find_lane_end(lane.reader).has_value());
}

class HostileReader : public testing::TestWithParam<Lie> {};

TEST_P(HostileReader, is_found_out_for_good) {
  Lane lane(test::geometry(5'000));
  ASSERT_EQ(lane.writer.write(bytes(std::string(4'000, 'x'))), Outcome::ok);
  ASSERT_EQ(lane.writer.write(bytes("second")), Outcome::ok);
  ASSERT_EQ(lane.read().size(), 4'000U);
  lane.cursors.publish(lane.reader.position());
  ASSERT_EQ(lane.writer.refresh(), Outcome::ok);
  GetParam().tell(lane);
  EXPECT_EQ(lane.writer.refresh(), Outcome::corrupt);
  lane.cursors.publish(lane.reader.position());
  EXPECT_EQ(lane.writer.write(bytes("third")), Outcome::corrupt);
}

flowfs_cursors& cursors(Lane& lane) { return lane.receiver.header().cursors; }

INSTANTIATE_TEST_SUITE_P(
    Lies, HostileReader,
    testing::Values(Lie{"ahead of the writer",
                        [](Lane& l) { cursors(l).hot = l.writer.position().hot + 16; }},
                    Lie{"backwards", [](Lane& l) { cursors(l).hot = 0; }},
                    Lie{"not aligned", [](Lane& l) { cursors(l).hot += 8; }},
                    Lie{"far away", [](Lane& l) { cursors(l).hot = UINT64_MAX - 15; }},
                    Lie{"bulk ahead", [](Lane& l) { cursors(l).bulk += 64; }},
                    Lie{"bulk backwards", [](Lane& l) { cursors(l).bulk -= 64; }},
                    Lie{"bulk not aligned", [](Lane& l) { cursors(l).bulk -= 1; }}));

}  // namespace
}  // namespace flowfs::pool
