// SPDX-License-Identifier: BSD-3-Clause
#include "pool/slab.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>

#include "pool_fixture.hpp"

namespace flowfs::pool {
namespace {

using test::Pool;

constexpr LaneNumber kLane{77};

std::vector<BlockRef> allocate_all(Slab& slab, unsigned class_index) {
  std::vector<BlockRef> blocks;
  while (const auto ref = slab.try_allocate(class_index)) {
    blocks.push_back(*ref);
  }
  return blocks;
}

TEST(Slab, allocates_every_block_of_a_class_once_and_then_none) {
  Pool pool;
  const auto one = pool.join();
  for (unsigned i = 0; i < 3; ++i) {
    const PoolClass& its = pool.memory.geometry().classes()[i];
    const auto blocks = allocate_all(*one, i);
    EXPECT_EQ(blocks.size(), its.blocks);
    EXPECT_EQ(std::set(blocks.begin(), blocks.end()).size(), its.blocks);
    for (const BlockRef ref : blocks) {
      EXPECT_EQ(pool.memory.geometry().class_of(ref.block), i);
      EXPECT_EQ(one->bytes(ref).size(), its.block_bytes);
    }
  }
}

TEST(Slab, gives_blocks_that_do_not_overlap) {
  Pool pool;
  const auto one = pool.join();
  std::vector<BlockRef> blocks;
  for (unsigned i = 0; i < 3; ++i) {
    for (const BlockRef ref : allocate_all(*one, i)) {
      std::ranges::fill(one->bytes(ref), static_cast<std::byte>(ref.block));
      blocks.push_back(ref);
    }
  }
  for (const BlockRef ref : blocks) {
    for (const std::byte byte : one->bytes(ref)) {
      ASSERT_EQ(byte, static_cast<std::byte>(ref.block));
    }
  }
}

TEST(Slab, frees_only_what_it_holds_and_only_once) {
  Pool pool;
  const auto one = pool.join();
  const auto two = pool.join();
  const auto ref = one->try_allocate(0);
  ASSERT_TRUE(ref);
  EXPECT_FALSE(two->free(*ref));
  EXPECT_FALSE(one->free({.block = ref->block, .generation = ref->generation + 1}));
  EXPECT_FALSE(one->free({.block = pool.memory.geometry().blocks(), .generation = 0}));
  EXPECT_TRUE(one->free(*ref));
  EXPECT_FALSE(one->free(*ref));
}

TEST(Slab, gives_a_freed_block_a_new_generation) {
  Pool pool(test::pool_geometry({{64, 1}}));
  const auto one = pool.join();
  const auto first = one->try_allocate(0);
  ASSERT_TRUE(first);
  ASSERT_TRUE(one->free(*first));
  const auto second = one->try_allocate(0);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->generation, first->generation + 1);
}

TEST(Slab, takes_first_what_it_freed_last) {
  Pool pool(test::pool_geometry({{64, 4'096}}));
  const auto one = pool.join(1);
  const auto blocks = allocate_all(*one, 0);
  ASSERT_TRUE(one->free(blocks[17]));
  ASSERT_TRUE(one->free(blocks[3'000]));
  EXPECT_EQ(one->try_allocate(0)->block, blocks[3'000].block);
}

TEST(Slab, prefers_its_own_shard_nearby_and_then_steals) {
  Pool pool(test::pool_geometry({{64, 64}}));
  const auto one = pool.join(1);
  const auto two = pool.join(2);
  const auto blocks = allocate_all(*one, 0);
  ASSERT_TRUE(two->hand_over(blocks[0], kLane) == std::nullopt);
  // Block 5 ends up in the shard of two, block 40 in that of one.
  const auto sent = one->hand_over(blocks[5], kLane);
  ASSERT_TRUE(sent && two->take(*sent) && two->free(*sent));
  ASSERT_TRUE(one->free(blocks[40]));
  EXPECT_EQ(two->try_allocate(0)->block, blocks[5].block);
  EXPECT_EQ(two->try_allocate(0)->block, blocks[40].block);
  EXPECT_EQ(two->try_allocate(0), std::nullopt);
}

TEST(Slab, hands_a_block_over_without_touching_it) {
  Pool pool;
  const auto one = pool.join();
  const auto two = pool.join();
  const auto ref = one->try_allocate(1);
  ASSERT_TRUE(ref);
  one->bytes(*ref)[4'095] = std::byte{42};
  const auto sent = one->hand_over(*ref, kLane);
  ASSERT_TRUE(sent);
  EXPECT_EQ(pool.count(1), "9 0 1");
  EXPECT_FALSE(one->is_mine(*ref));
  EXPECT_FALSE(one->free(*ref));
  ASSERT_TRUE(two->take(*sent));
  EXPECT_EQ(pool.count(1), "9 1 0");
  EXPECT_EQ(two->bytes(*sent)[4'095], std::byte{42});
  EXPECT_FALSE(one->take_back(*sent, kLane));
  EXPECT_FALSE(two->take(*sent));
  EXPECT_TRUE(two->free(*sent));
  EXPECT_EQ(pool.count(1), "10 0 0");
}

TEST(Slab, takes_back_what_nobody_took_and_the_record_means_nothing_any_more) {
  Pool pool;
  const auto one = pool.join();
  const auto two = pool.join();
  const auto ref = one->try_allocate(0);
  const auto sent = one->hand_over(*ref, kLane);
  ASSERT_TRUE(sent);
  EXPECT_FALSE(one->take_back(*sent, LaneNumber{78}));
  EXPECT_FALSE(one->take_back(*ref, kLane));
  ASSERT_TRUE(one->take_back(*sent, kLane));
  EXPECT_FALSE(two->take(*sent));
  const auto again = one->hand_over(*sent, kLane);
  ASSERT_TRUE(again);
  EXPECT_FALSE(two->take(*sent));
  EXPECT_TRUE(two->take(*again));
}

TEST(Slab, refuses_references_that_lead_out_of_the_pool) {
  Pool pool;
  const auto one = pool.join();
  for (const std::uint32_t block : {pool.memory.geometry().blocks(), UINT32_MAX}) {
    const BlockRef ref{.block = block, .generation = 0};
    EXPECT_FALSE(one->take(ref));
    EXPECT_FALSE(one->take_back(ref, kLane));
    EXPECT_FALSE(one->hand_over(ref, kLane));
    EXPECT_TRUE(one->bytes(ref).empty());
  }
}

TEST(Slab, finds_free_blocks_whose_hints_are_lost) {
  Pool pool;
  const auto one = pool.join();
  std::memset(pool.memory.bytes().data() + pool.memory.geometry().hints_offset(), 0,
              pool.memory.geometry().blocks());
  EXPECT_EQ(allocate_all(*one, 1).size(), 10U);
}

TEST(Slab, passes_over_blocks_whose_hints_lie_and_repairs_them) {
  Pool pool;
  const auto one = pool.join();
  const auto blocks = allocate_all(*one, 0);
  const auto hints = pool.memory.bytes().subspan(pool.memory.geometry().hints_offset(), 21);
  std::ranges::fill(hints, std::byte{1});
  EXPECT_EQ(one->try_allocate(0), std::nullopt);
  EXPECT_TRUE(std::ranges::all_of(hints, [](std::byte hint) { return hint == std::byte{0}; }));
}

TEST(Slab, gives_up_at_the_deadline_and_not_before) {
  Pool pool(test::pool_geometry({{64, 1}}));
  const auto one = pool.join();
  ASSERT_TRUE(one->try_allocate(0));
  const Instant deadline = Clock::now() + std::chrono::milliseconds(3);
  EXPECT_EQ(one->allocate(0, deadline), std::nullopt);
  EXPECT_GE(Clock::now(), deadline);
}

TEST(Slab, wakes_who_waits_for_a_block) {
  Pool pool(test::pool_geometry({{64, 1}, {128, 1}}));
  const auto one = pool.join();
  const auto two = pool.join();
  const auto ref = one->try_allocate(0);
  std::optional<BlockRef> got;
  std::thread waiter([&] { got = two->allocate(0, kNever); });
  while (!one->is_wanted(0)) {
    std::this_thread::yield();
  }
  EXPECT_FALSE(one->is_wanted(1));
  EXPECT_TRUE(one->free(*ref));
  waiter.join();
  ASSERT_TRUE(got);
  EXPECT_TRUE(two->is_mine(*got));
}

// The bit of a waiter that is gone goes with the next free.
TEST(Slab, forgets_a_waiter_that_is_no_more) {
  Pool pool(test::pool_geometry({{64, 1}}));
  const auto one = pool.join();
  const auto ref = one->try_allocate(0);
  EXPECT_EQ(one->allocate(0, Clock::now() + std::chrono::milliseconds(1)), std::nullopt);
  EXPECT_TRUE(one->is_wanted(0));
  ASSERT_TRUE(one->free(*ref));
  EXPECT_FALSE(one->is_wanted(0));
}

TEST(Slab, poisons_what_this_process_must_not_touch) {
#ifdef FLOWFS_POISONS
  Pool pool;
  const auto one = pool.join();
  const auto is_poisoned = [&](BlockRef ref) {
    return __asan_address_is_poisoned(one->bytes(ref).data()) != 0;
  };
  const auto ref = one->try_allocate(0);
  ASSERT_TRUE(ref);
  EXPECT_FALSE(is_poisoned(*ref));
  EXPECT_TRUE(is_poisoned({.block = ref->block + 1}));  // never used
  const auto sent = one->hand_over(*ref, kLane);
  EXPECT_TRUE(is_poisoned(*ref));
  ASSERT_TRUE(sent && one->take(*sent));
  EXPECT_FALSE(is_poisoned(*sent));
  ASSERT_TRUE(one->free(*sent));
  EXPECT_TRUE(is_poisoned(*sent));
#else
  GTEST_SKIP() << "nothing is poisoned without AddressSanitizer";
#endif
}

}  // namespace
}  // namespace flowfs::pool
