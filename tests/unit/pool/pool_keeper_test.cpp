// SPDX-License-Identifier: BSD-3-Clause
#include "pool/pool_keeper.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>
#include <thread>

#include "pool/shared.hpp"
#include "pool_fixture.hpp"

namespace flowfs::pool {
namespace {

using test::descriptor;
using test::kAfterQuarantine;
using test::kBegin;
using test::Pool;
using Taken = PoolKeeper::Taken;

constexpr Micros kMoment{1};

// A sender, a receiver and a lane between them.
struct Flow : Pool {
  BlockRef send() {
    const auto ref = sender->try_allocate(0);
    return sender->hand_over(*ref, lane).value();
  }
  std::unique_ptr<Slab> sender = join();
  std::unique_ptr<Slab> receiver = join();
  LaneNumber lane = keeper.issue_lane().value();
};

TEST(PoolKeeper, issues_each_number_to_one) {
  Pool pool;
  std::set<std::uint32_t> numbers;
  for (int i = 0; i < 100; ++i) {
    numbers.insert(std::to_underlying(pool.keeper.issue_holder().value()));
    numbers.insert(std::to_underlying(pool.keeper.issue_lane().value()));
  }
  EXPECT_EQ(numbers.size(), 200U);
  EXPECT_FALSE(numbers.contains(FLOWFS_HOLDER_NONE));
}

TEST(PoolKeeper, does_not_issue_a_number_again_soon) {
  Pool pool;
  const Holder first = pool.keeper.issue_holder().value();
  pool.keeper.retire(first, kBegin);
  pool.keeper.sweep(kAfterQuarantine);
  EXPECT_EQ(pool.keeper.numbers(), 0U);
  EXPECT_NE(pool.keeper.issue_holder().value(), first);
}

TEST(PoolKeeper, begins_again_after_the_last_number) {
  Pool pool;
  PoolKeeper keeper(test::small_pool(), pool.memory.bytes(), test::kSerial, FLOWFS_HOLDER_MOST - 1);
  const auto issue = [&] { return std::to_underlying(keeper.issue_holder().value()); };
  EXPECT_EQ(issue(), FLOWFS_HOLDER_MOST - 1);
  EXPECT_EQ(issue(), FLOWFS_HOLDER_MOST);
  EXPECT_EQ(issue(), PoolKeeper::kFirst);
}

TEST(PoolKeeper, runs_out_of_numbers_without_harm) {
  Pool pool(test::pool_geometry({{64, 1}}));
  Result<Holder> last = pool.keeper.issue_holder();
  const Holder first = *last;
  for (std::uint32_t i = 0; i < FLOWFS_HOLDER_MOST && last; ++i) {
    last = pool.keeper.issue_holder();
  }
  ASSERT_FALSE(last);
  EXPECT_EQ(last.error().error, ENOSPC);
  pool.keeper.retire(first, kBegin);
  pool.keeper.sweep(kAfterQuarantine);
  EXPECT_TRUE(pool.keeper.issue_holder());
}

TEST(PoolKeeper, frees_what_a_holder_held_after_the_quarantine) {
  Pool pool;
  const auto one = pool.join();
  const auto two = pool.join();
  const auto lost = one->try_allocate(0);
  const auto kept = two->try_allocate(0);
  ASSERT_TRUE(lost && kept);
  EXPECT_EQ(pool.keeper.due(), kNever);
  pool.keeper.retire(one->self(), kBegin);
  EXPECT_EQ(pool.keeper.due(), kAfterQuarantine);
  EXPECT_EQ(pool.keeper.sweep(kAfterQuarantine - kMoment), 0U);
  EXPECT_EQ(pool.keeper.due(), kAfterQuarantine);
  EXPECT_EQ(pool.keeper.sweep(kAfterQuarantine), 1U);
  EXPECT_EQ(pool.keeper.due(), kNever);
  EXPECT_EQ(pool.count(0), "20 1 0");
  EXPECT_TRUE(two->is_mine(*kept));
  EXPECT_FALSE(one->free(*lost));
  EXPECT_EQ(pool.keeper.sweep(kAfterQuarantine), 0U);
}

TEST(PoolKeeper, does_not_prolong_a_quarantine) {
  Pool pool;
  const auto one = pool.join();
  pool.keeper.retire(one->self(), kBegin);
  pool.keeper.retire(one->self(), kBegin + kMoment);
  EXPECT_EQ(pool.keeper.due(), kAfterQuarantine);
  pool.keeper.sweep(kAfterQuarantine);
  pool.keeper.retire(one->self(), kAfterQuarantine);
  EXPECT_EQ(pool.keeper.due(), kNever);
}

TEST(PoolKeeper, leaves_to_the_receiver_what_a_dead_sender_published) {
  Flow flow;
  const BlockRef published = flow.send();
  const BlockRef unpublished = flow.send();
  flow.keeper.retire(flow.sender->self(), kBegin);
  flow.keeper.end_lane(flow.lane, {published}, kBegin);
  EXPECT_EQ(flow.keeper.sweep(kAfterQuarantine), 1U);
  EXPECT_EQ(flow.count(0), "20 0 1");
  EXPECT_FALSE(flow.receiver->take(unpublished));
  EXPECT_TRUE(flow.receiver->take(published));
  EXPECT_EQ(flow.keeper.sweep(kAfterQuarantine), 0U);
  EXPECT_TRUE(flow.receiver->free(published));
}

TEST(PoolKeeper, frees_kept_blocks_when_their_reader_is_gone) {
  Flow flow;
  const BlockRef published = flow.send();
  flow.keeper.end_lane(flow.lane, {published}, kBegin);
  flow.keeper.sweep(kAfterQuarantine);
  EXPECT_EQ(flow.keeper.due(), kNever);
  EXPECT_EQ(flow.count(0), "20 0 1");
  flow.keeper.end_lane(flow.lane, {}, kAfterQuarantine);
  EXPECT_EQ(flow.keeper.sweep(kAfterQuarantine), 0U);
  EXPECT_EQ(flow.keeper.sweep(flow.keeper.due()), 1U);
  EXPECT_EQ(flow.count(0), "21 0 0");
  EXPECT_EQ(flow.keeper.numbers(), 2U);
}

TEST(PoolKeeper, keeps_nothing_that_was_given_up_before) {
  Flow flow;
  const BlockRef one = flow.send();
  const BlockRef two = flow.send();
  flow.keeper.end_lane(flow.lane, {one}, kBegin);
  flow.keeper.end_lane(flow.lane, {one, two}, kBegin + kMoment);
  EXPECT_EQ(flow.keeper.due(), kAfterQuarantine);
  EXPECT_EQ(flow.keeper.sweep(kAfterQuarantine), 1U);
  EXPECT_FALSE(flow.receiver->take(two));
  EXPECT_TRUE(flow.receiver->take(one));
}

// The word says in flight in another generation than the record that was kept.
TEST(PoolKeeper, keeps_a_block_in_one_generation_only) {
  Flow flow;
  const BlockRef sent = flow.send();
  flow.keeper.end_lane(flow.lane, {{.block = sent.block, .generation = sent.generation + 1}},
                       kBegin);
  EXPECT_EQ(flow.keeper.sweep(kAfterQuarantine), 1U);
  EXPECT_EQ(flow.count(0), "21 0 0");
}

TEST(PoolKeeper, lets_a_sender_take_back_during_the_quarantine) {
  Flow flow;
  const BlockRef sent = flow.send();
  flow.keeper.end_lane(flow.lane, {}, kBegin);
  EXPECT_TRUE(flow.sender->take_back(sent, flow.lane));
  EXPECT_EQ(flow.keeper.sweep(kAfterQuarantine), 0U);
  EXPECT_TRUE(flow.sender->free(sent));
}

TEST(PoolKeeper, confuses_neither_holders_with_lanes_nor_numbers_never_issued) {
  Flow flow;
  flow.keeper.retire(Holder{std::to_underlying(flow.lane)}, kBegin);
  flow.keeper.end_lane(LaneNumber{std::to_underlying(flow.sender->self())}, {}, kBegin);
  flow.keeper.retire(Holder{4'711}, kBegin);
  flow.keeper.end_lane(LaneNumber{4'712}, {}, kBegin);
  EXPECT_EQ(flow.keeper.due(), kNever);
  const BlockRef sent = flow.send();
  EXPECT_EQ(flow.keeper.sweep(kAfterQuarantine), 0U);
  EXPECT_TRUE(flow.receiver->take(sent));
}

TEST(PoolKeeper, frees_words_that_make_no_sense) {
  Flow flow;
  const auto honest = flow.sender->try_allocate(0);
  ASSERT_TRUE(honest);
  const auto lane = std::to_underlying(flow.lane);
  const auto holder = std::to_underlying(flow.sender->self());
  const OwnerWord bad[] = {
      OwnerWord::make(3, 0, 0),
      OwnerWord::make(255, holder, 9),
      OwnerWord::make(FLOWFS_BLOCK_HELD, lane, 1),
      OwnerWord::make(FLOWFS_BLOCK_IN_FLIGHT, holder, 1),
      OwnerWord::make(FLOWFS_BLOCK_HELD, FLOWFS_HOLDER_NONE, 1),
      OwnerWord::make(FLOWFS_BLOCK_HELD, 1, 1),  // the daemon's own
      OwnerWord::make(FLOWFS_BLOCK_HELD, FLOWFS_HOLDER_MOST, UINT32_MAX),
  };
  std::uint32_t block = honest->block + 1;
  for (const OwnerWord word : bad) {
    OwnerWord was = flow.words.look(block);
    ASSERT_TRUE(flow.words.change(block, was, word));
    ++block;
  }
  EXPECT_EQ(flow.keeper.sweep(kBegin), std::size(bad));
  EXPECT_EQ(flow.count(0), "20 1 0");
  EXPECT_TRUE(flow.sender->is_mine(*honest));
}

TEST(PoolKeeper, gives_every_block_back_whatever_was_scribbled) {
  std::mt19937_64 random{5};
  for (int round = 0; round < 200; ++round) {
    Flow flow;
    const PoolGeometry& geometry = flow.memory.geometry();
    for (std::uint32_t block = 0; block < geometry.blocks(); ++block) {
      OwnerWord was = flow.words.look(block);
      const std::uint64_t state = random() % 5;
      const auto number = static_cast<std::uint32_t>(random() % 6);
      ASSERT_TRUE(flow.words.change(
          block, was, OwnerWord::make(state, number, static_cast<std::uint32_t>(random()))));
    }
    const auto hints = flow.memory.bytes().subspan(geometry.hints_offset(), geometry.blocks());
    std::generate(hints.begin(), hints.end(), [&] { return static_cast<std::byte>(random()); });
    flow.keeper.retire(flow.sender->self(), kBegin);
    flow.keeper.retire(flow.receiver->self(), kBegin);
    flow.keeper.end_lane(flow.lane, {}, kBegin);
    flow.keeper.sweep(kAfterQuarantine);
    EXPECT_EQ(flow.count(0), "21 0 0");
    EXPECT_EQ(flow.count(1), "10 0 0");
    EXPECT_EQ(flow.count(2), "3 0 0");
    const auto next = flow.join(3);
    for (std::uint32_t i = 0; i < 21; ++i) {
      ASSERT_TRUE(next->try_allocate(0)) << round;
    }
  }
}

TEST(PoolKeeper, repairs_hints_that_dying_members_left_wrong) {
  Pool pool;
  const auto hints = pool.memory.bytes().subspan(pool.memory.geometry().hints_offset(), 34);
  std::ranges::fill(hints, std::byte{0});
  const auto one = pool.join();
  const auto ref = one->try_allocate(0);
  ASSERT_TRUE(ref);
  hints[ref->block] = std::byte{9};
  pool.keeper.sweep(kBegin);
  for (std::uint32_t block = 0; block < hints.size(); ++block) {
    EXPECT_EQ(hints[block], std::byte{block == ref->block ? std::uint8_t{0} : std::uint8_t{1}});
  }
}

TEST(PoolKeeper, wakes_everybody_when_it_has_freed_blocks) {
  Pool pool(test::pool_geometry({{64, 2}}));
  const auto dead = pool.join();
  ASSERT_TRUE(dead->try_allocate(0) && dead->try_allocate(0));
  const auto one = pool.join();
  const auto two = pool.join();
  std::optional<BlockRef> first;
  std::optional<BlockRef> second;
  std::thread waits_one([&] { first = one->allocate(0, kNever); });
  std::thread waits_two([&] { second = two->allocate(0, kNever); });
  while (!one->is_wanted(0)) {
    std::this_thread::yield();
  }
  pool.keeper.retire(dead->self(), kBegin);
  EXPECT_EQ(pool.keeper.sweep(kAfterQuarantine), 2U);
  waits_one.join();
  waits_two.join();
  EXPECT_TRUE(first && second);
  EXPECT_NE(first, second);
}

TEST(PoolKeeper, copies_a_block_out_for_an_end_in_file_mode) {
  Flow flow;
  const auto ref = flow.sender->try_allocate(1);
  ASSERT_TRUE(ref);
  std::memcpy(flow.sender->bytes(*ref).data() + 100, "hello", 5);
  const auto sent = flow.sender->hand_over(*ref, flow.lane);
  ASSERT_TRUE(sent);
  std::string copy(5, '\0');
  const auto into = std::as_writable_bytes(std::span(copy));
  EXPECT_EQ(flow.keeper.take_for_file_end(descriptor(*sent, 5, 100), into), Taken::ok);
  EXPECT_EQ(copy, "hello");
  EXPECT_EQ(flow.count(1), "10 0 0");
  EXPECT_EQ(flow.keeper.take_for_file_end(descriptor(*sent, 5, 100), into), Taken::gone);
}

TEST(PoolKeeper, refuses_descriptors_that_lie) {
  Flow flow;
  const BlockRef sent = flow.send();
  std::vector<std::byte> copy(5);
  flowfs_block other = descriptor(sent, 5);
  ++other.pool;
  EXPECT_EQ(flow.keeper.take_for_file_end(other, copy), Taken::corrupt);
  EXPECT_EQ(flow.keeper.take_for_file_end(descriptor(sent, 5, 252), copy), Taken::corrupt);
  EXPECT_EQ(flow.keeper.take_for_file_end(descriptor(sent, 6), copy), Taken::corrupt);
  const BlockRef outside{.block = flow.memory.geometry().blocks(), .generation = 1};
  EXPECT_EQ(flow.keeper.take_for_file_end(descriptor(outside, 5), copy), Taken::corrupt);
  const BlockRef late{.block = sent.block, .generation = sent.generation - 1};
  EXPECT_EQ(flow.keeper.take_for_file_end(descriptor(late, 5), copy), Taken::gone);
  EXPECT_EQ(flow.count(0), "20 0 1");
}

}  // namespace
}  // namespace flowfs::pool
