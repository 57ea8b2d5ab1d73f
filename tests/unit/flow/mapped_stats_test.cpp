// SPDX-License-Identifier: BSD-3-Clause
// What is counted where an end is mapped: each message once, and sent = delivered + dropped.
#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "mapped_fixture.hpp"

namespace flowfs::flow {
namespace {

using test::kClient;
using test::kServer;
using test::Program;
using test::read;
using test::write;

class MappedStats : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(channel.make_segments(world.setup()).has_value()); }

  std::unique_ptr<Program> attach(Side side) {
    EXPECT_TRUE(channel.make_segments(world.setup()).has_value());
    auto program = Program::attach(channel, side, world.status_of(side));
    if (!program) {
      ADD_FAILURE() << program.error().message();
      return nullptr;
    }
    return std::move(*program);
  }
  void expect_sent(std::uint64_t messages, std::uint64_t bytes, std::uint64_t drops) {
    const DirectionStats& stats = channel.stats(kClient);
    EXPECT_EQ(stats.messages, messages);
    EXPECT_EQ(stats.bytes, bytes);
    EXPECT_EQ(stats.drops, drops);
  }
  void expect_seen(std::uint64_t messages, std::uint64_t bytes) {
    const Seen seen = channel.take_seen(kClient);
    EXPECT_EQ(seen.messages, messages);
    EXPECT_EQ(seen.bytes, bytes);
  }

  test::World world;
  Channel channel{{.mtu_bytes = 5'000, .depth_bytes = 20'000}};
};

TEST_F(MappedStats, a_mapped_sender_is_seen_once_for_each_message) {
  const auto program = attach(kClient);
  EXPECT_EQ(program->send("four"), "ok");
  EXPECT_EQ(program->send("fives"), "ok");
  EXPECT_EQ(read(channel, kServer), "four");
  expect_seen(1, 4);
  expect_seen(0, 0);
  EXPECT_EQ(read(channel, kServer), "fives");
  expect_seen(1, 5);
  expect_sent(2, 9, 0);
}

TEST_F(MappedStats, what_a_mapped_sender_leaves_behind_counts_when_it_detaches) {
  const auto program = attach(kClient);
  EXPECT_EQ(program->send("one"), "ok");
  EXPECT_EQ(program->send("two"), "ok");
  EXPECT_EQ(read(channel, kServer), "one");
  ASSERT_TRUE(channel.detach(kClient).has_value());
  expect_sent(2, 6, 0);
  expect_seen(2, 6);
  EXPECT_EQ(read(channel, kServer), "two");
  expect_sent(2, 6, 0);
  expect_seen(0, 0);
}

TEST_F(MappedStats, what_was_written_as_a_file_does_not_count_again) {
  EXPECT_EQ(write(channel, kClient, "as a file"), "ok");
  const auto program = attach(kClient);
  EXPECT_EQ(program->send("mapped"), "ok");
  EXPECT_EQ(read(channel, kServer), "as a file");
  expect_sent(1, 9, 0);
  expect_seen(0, 0);
  ASSERT_TRUE(channel.detach(kClient).has_value());
  expect_sent(2, 15, 0);
  expect_seen(1, 6);
}

TEST_F(MappedStats, nor_where_both_were_mapped_in_between) {
  const auto server = attach(kServer);
  EXPECT_EQ(write(channel, kClient, "as a file"), "ok");
  const auto client = attach(kClient);
  EXPECT_EQ(client->send("mapped"), "ok");
  ASSERT_TRUE(channel.detach(kServer).has_value());
  EXPECT_EQ(read(channel, kServer), "as a file");
  EXPECT_EQ(read(channel, kServer), "mapped");
  expect_sent(2, 15, 0);
  expect_seen(1, 6);
}

TEST_F(MappedStats, drops_what_a_mapped_receiver_has_not_read_when_it_closes) {
  const auto program = attach(kServer);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(write(channel, kClient, "x"), "ok");
  }
  EXPECT_EQ(program->receive(), "x");
  program->publish();
  channel.close(kServer);
  expect_sent(5, 5, 4);
  channel.close(kServer);
  expect_sent(5, 5, 4);
}

TEST_F(MappedStats, drops_the_same_where_it_detaches_first) {
  const auto program = attach(kServer);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(write(channel, kClient, "x"), "ok");
  }
  EXPECT_EQ(program->receive(), "x");
  program->publish();
  ASSERT_TRUE(channel.detach(kServer).has_value());
  EXPECT_EQ(channel.queued_bytes(kClient), 4U);
  channel.close(kServer);
  expect_sent(5, 5, 4);
}

TEST_F(MappedStats, drops_what_a_mapped_sender_published_and_no_file_read) {
  const auto program = attach(kClient);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(program->send("abcdef"), "ok");
  }
  EXPECT_EQ(read(channel, kServer), "abcdef");
  ASSERT_EQ(channel.front(kServer).outcome, ReadOutcome::ok);
  channel.consume(kServer, 3);
  channel.shutdown_read(kServer);
  expect_sent(5, 30, 4);
  expect_seen(5, 30);
  channel.close(kServer);
  channel.close(kClient);
  expect_sent(5, 30, 4);
}

TEST_F(MappedStats, a_lying_receiver_that_closes_harms_nobody) {
  const auto program = attach(kServer);
  EXPECT_EQ(write(channel, kClient, "x"), "ok");
  pool::shared(program->header().cursors.hot).store(8);
  channel.close(kServer);
  EXPECT_FALSE(channel.is_corrupt());
  EXPECT_EQ(read(channel, kClient), "(end)");
}

TEST_F(MappedStats, between_two_mapped_ends_only_what_passed_the_daemon_counts) {
  const auto server = attach(kServer);
  EXPECT_EQ(write(channel, kClient, "as a file"), "ok");
  const auto client = attach(kClient);
  EXPECT_EQ(client->send("mapped"), "ok");
  channel.close(kServer);
  expect_sent(1, 9, 1);
  expect_seen(0, 0);
}

}  // namespace
}  // namespace flowfs::flow
