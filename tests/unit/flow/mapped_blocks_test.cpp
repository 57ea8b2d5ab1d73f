// SPDX-License-Identifier: BSD-3-Clause
// Messages in blocks of a pool, as the daemon meets them for an end in file mode, and the pool that
// the slots of both ends tell.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "mapped_fixture.hpp"

namespace flowfs::flow {
namespace {

using test::kClient;
using test::kServer;
using test::Program;
using test::read;

constexpr std::uint64_t kPool = 77;

// Blocks on their way by their number, each with the message in it.
class Blocks : public BlockSource {
 public:
  bool take(Side from, const flowfs_block& block, std::span<std::byte> copy) override {
    const auto found = messages.find(block.block);
    if (from != kClient || block.pool != kPool || found == messages.end()) {
      if (on_refused) {
        on_refused();
      }
      return false;
    }
    EXPECT_EQ(copy.size(), found->second.size());
    std::ranges::copy(test::bytes(found->second), copy.begin());
    messages.erase(found);
    return true;
  }
  std::map<std::uint32_t, std::string> messages;
  std::function<void()> on_refused;
};

class MappedBlocks : public testing::Test {
 protected:
  void SetUp() override { make_segments(); }

  void make_segments() {
    MappedSetup setup = world.setup();
    setup.blocks = &blocks;
    ASSERT_TRUE(channel.make_segments(setup).has_value());
  }
  std::unique_ptr<Program> attach(Side side) {
    make_segments();
    auto program = Program::attach(channel, side, world.status_of(side));
    if (!program) {
      ADD_FAILURE() << program.error().message();
      return nullptr;
    }
    return std::move(*program);
  }
  // Hands a message over in a block of that number.
  std::string send(Program& program, std::uint32_t number, const std::string& message) {
    blocks.messages[number] = message;
    return program.send_block(record(number, message.size()));
  }
  static flowfs_block record(std::uint32_t number, std::size_t length) {
    return {.pool = kPool,
            .block = number,
            .generation = 1,
            .offset = 0,
            .length = static_cast<std::uint32_t>(length)};
  }
  std::vector<std::uint32_t> unread() {
    std::vector<std::uint32_t> numbers;
    for (const flowfs_block& block : channel.unread_blocks(kClient)) {
      numbers.push_back(block.block);
    }
    return numbers;
  }

  test::World world;
  Blocks blocks;
  Channel channel{{.mtu_bytes = 5'000, .depth_bytes = 20'000}};
};

TEST_F(MappedBlocks, both_slots_tell_a_pool_while_both_ends_have_joined_it) {
  const auto client = attach(kClient);
  const auto server = attach(kServer);
  channel.set_pool(kClient, kPool);
  EXPECT_EQ(client->slot().pool, 0U);
  channel.set_pool(kServer, kPool + 1);
  EXPECT_EQ(client->slot().pool, 0U);
  channel.set_pool(kServer, kPool);
  EXPECT_EQ(client->slot().pool, kPool);
  EXPECT_EQ(server->slot().pool, kPool);
  channel.set_pool(kClient, 0);
  EXPECT_EQ(client->slot().pool, 0U);
  EXPECT_EQ(server->slot().pool, 0U);
}

TEST_F(MappedBlocks, an_end_that_detaches_has_left_its_pool) {
  const auto client = attach(kClient);
  auto server = attach(kServer);
  channel.set_pool(kClient, kPool);
  channel.set_pool(kServer, kPool);
  ASSERT_TRUE(channel.detach(kServer).has_value());
  EXPECT_EQ(client->slot().pool, 0U);
  EXPECT_EQ(client->receive(), "(empty)");  // it has taken up the server's new segment
  server = attach(kServer);
  EXPECT_EQ(client->slot().pool, 0U);
}

TEST_F(MappedBlocks, an_end_that_closes_has_left_its_pool) {
  const auto client = attach(kClient);
  const auto server = attach(kServer);
  channel.set_pool(kClient, kPool);
  channel.set_pool(kServer, kPool);
  channel.close(kServer);
  EXPECT_EQ(client->slot().pool, 0U);
}

TEST_F(MappedBlocks, a_file_reads_what_was_sent_in_blocks) {
  const auto client = attach(kClient);
  EXPECT_EQ(send(*client, 1, "in a block"), "ok");
  EXPECT_EQ(client->send("inline"), "ok");
  EXPECT_EQ(send(*client, 2, std::string(5'000, 'x')), "ok");
  EXPECT_EQ(read(channel, kServer), "in a block");
  EXPECT_EQ(read(channel, kServer), "inline");
  EXPECT_EQ(read(channel, kServer), std::string(5'000, 'x'));
  EXPECT_TRUE(blocks.messages.empty());
  EXPECT_EQ(channel.stats(kClient).copies, 3U);
  EXPECT_EQ(channel.stats(kClient).bytes, 10U + 6U + 5'000U);
}

TEST_F(MappedBlocks, a_block_that_is_not_to_be_had_is_a_message_dropped) {
  const auto client = attach(kClient);
  EXPECT_EQ(client->send_block(record(1, 10)), "ok");
  EXPECT_EQ(client->send_block(record(2, 20)), "ok");
  EXPECT_EQ(client->send("there"), "ok");
  EXPECT_EQ(read(channel, kServer), "there");
  EXPECT_EQ(channel.stats(kClient).messages, 3U);
  EXPECT_EQ(channel.stats(kClient).drops, 2U);
  EXPECT_FALSE(channel.is_corrupt());
}

TEST_F(MappedBlocks, a_sender_of_nothing_but_lies_is_listened_to_for_one_ring) {
  const auto client = attach(kClient);
  blocks.on_refused = [&] { (void)client->send_block(record(1, 10)); };
  EXPECT_EQ(client->send_block(record(1, 10)), "ok");
  EXPECT_EQ(channel.front(kServer).outcome, ReadOutcome::empty);
  EXPECT_TRUE(channel.readable(kServer)) << "what is left gets its turn";
  blocks.on_refused = nullptr;
  EXPECT_EQ(channel.front(kServer).outcome, ReadOutcome::empty);
  EXPECT_FALSE(channel.readable(kServer));
  EXPECT_FALSE(channel.is_corrupt());
}

TEST_F(MappedBlocks, what_the_sender_leaves_behind_is_copied_out) {
  const auto client = attach(kClient);
  EXPECT_EQ(send(*client, 1, "one"), "ok");
  EXPECT_EQ(client->send_block(record(9, 5)), "ok");
  EXPECT_EQ(send(*client, 2, "two"), "ok");
  ASSERT_TRUE(channel.detach(kClient).has_value());
  EXPECT_TRUE(blocks.messages.empty());
  EXPECT_EQ(read(channel, kServer), "one");
  EXPECT_EQ(read(channel, kServer), "two");
  EXPECT_EQ(channel.stats(kClient).messages, 3U);
  EXPECT_EQ(channel.stats(kClient).drops, 1U);
}

TEST_F(MappedBlocks, a_message_begun_is_kept_when_its_sender_leaves) {
  const auto client = attach(kClient);
  EXPECT_EQ(send(*client, 1, "abcdef"), "ok");
  EXPECT_EQ(send(*client, 2, "next"), "ok");
  EXPECT_EQ(channel.front(kServer).rest.size(), 6U);
  channel.consume(kServer, 2);
  channel.close(kClient);
  EXPECT_EQ(read(channel, kServer), "cdef");
  EXPECT_EQ(read(channel, kServer), "next");
  EXPECT_EQ(channel.stats(kClient).messages, 2U);
}

TEST_F(MappedBlocks, an_end_cannot_attach_before_it_has_read_the_rest_of_a_block) {
  const auto client = attach(kClient);
  EXPECT_EQ(send(*client, 1, "abcdef"), "ok");
  EXPECT_EQ(channel.front(kServer).rest.size(), 6U);
  const auto early = channel.attach(kServer);
  ASSERT_FALSE(early.has_value());
  EXPECT_EQ(early.error().error, EAGAIN);
  channel.consume(kServer, 6);
  EXPECT_TRUE(channel.attach(kServer).has_value());
}

TEST_F(MappedBlocks, what_a_mapped_reader_leaves_unread_is_copied_out) {
  const auto client = attach(kClient);
  const auto server = attach(kServer);
  EXPECT_EQ(send(*client, 1, "one"), "ok");
  EXPECT_EQ(send(*client, 2, "two"), "ok");
  EXPECT_EQ(unread(), (std::vector<std::uint32_t>{1, 2}));
  ASSERT_TRUE(channel.detach(kServer).has_value());
  EXPECT_EQ(read(channel, kServer), "one");
  EXPECT_EQ(read(channel, kServer), "two");
  EXPECT_TRUE(unread().empty());
}

TEST_F(MappedBlocks, unread_blocks_are_those_of_the_lane_that_its_sender_left) {
  const auto client = attach(kClient);
  const auto server = attach(kServer);
  EXPECT_EQ(send(*client, 1, "one"), "ok");
  EXPECT_EQ(send(*client, 2, "two"), "ok");
  ASSERT_TRUE(channel.detach(kClient).has_value());
  EXPECT_EQ(send(*client, 3, "of a ghost"), "ok");
  EXPECT_EQ(unread(), (std::vector<std::uint32_t>{1, 2}));
  channel.close(kClient);
  EXPECT_EQ(unread(), (std::vector<std::uint32_t>{1, 2}));
  channel.close(kServer);
  EXPECT_TRUE(unread().empty()) << "nobody will read them";
}

TEST_F(MappedBlocks, unread_blocks_of_a_sender_that_closed) {
  const auto client = attach(kClient);
  const auto server = attach(kServer);
  EXPECT_EQ(send(*client, 1, "one"), "ok");
  channel.close(kClient);
  EXPECT_EQ(send(*client, 3, "of a ghost"), "ok");
  EXPECT_EQ(unread(), (std::vector<std::uint32_t>{1}));
}

TEST_F(MappedBlocks, a_lane_that_lies_names_nothing) {
  const auto client = attach(kClient);
  const auto server = attach(kServer);
  EXPECT_EQ(send(*client, 1, "one"), "ok");
  EXPECT_EQ(client->send_block(record(2, 5'001)), "ok");
  EXPECT_TRUE(unread().empty());
}

TEST_F(MappedBlocks, counters_of_an_end_outlive_its_segments) {
  auto client = attach(kClient);
  client->header().sending = {.copies = 1, .waits = 2, .wakeups = 3, .drops = 0};
  client->header().receiving = {.copies = 4, .waits = 5, .wakeups = 6, .drops = 7};
  EXPECT_EQ(channel.counters(kClient).sending.waits, 2U);
  ASSERT_TRUE(channel.detach(kClient).has_value());
  EXPECT_EQ(channel.counters(kClient).receiving.drops, 7U);
  client = attach(kClient);
  client->header().sending = {.copies = 10, .waits = 20, .wakeups = 30, .drops = 0};
  EXPECT_EQ(channel.counters(kClient).sending.copies, 11U);
  EXPECT_EQ(channel.counters(kClient).receiving.copies, 4U);
  EXPECT_EQ(channel.counters(kServer).sending.copies, 0U);
}

}  // namespace
}  // namespace flowfs::flow
