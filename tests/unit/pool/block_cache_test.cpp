// SPDX-License-Identifier: BSD-3-Clause
#include "pool/block_cache.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "pool_fixture.hpp"

namespace flowfs::pool {
namespace {

using test::Pool;

const PoolGeometry& shape() {
  static const PoolGeometry geometry = test::pool_geometry({{64, 2'048}, {128, 64}, {4'096, 31}});
  return geometry;
}

std::vector<BlockRef> allocate(BlockCache& cache, unsigned class_index, int count) {
  std::vector<BlockRef> blocks;
  for (int i = 0; i < count; ++i) {
    blocks.push_back(cache.try_allocate(class_index).value());
  }
  return blocks;
}

TEST(BlockCache, keeps_what_is_freed_and_gives_it_out_again) {
  Pool pool(shape());
  const auto one = pool.join();
  BlockCache cache(*one);
  const auto first = cache.try_allocate(0);
  ASSERT_TRUE(first);
  EXPECT_TRUE(cache.free(*first));
  EXPECT_EQ(pool.count(0), "2047 1 0");
  EXPECT_EQ(cache.try_allocate(0), first);
  EXPECT_EQ(pool.count(0), "2047 1 0");
  EXPECT_EQ(cache.allocate(0, kNever)->generation, 0U);
}

TEST(BlockCache, keeps_few_blocks_and_fewer_of_a_small_class) {
  Pool pool(shape());
  const auto one = pool.join();
  BlockCache cache(*one);
  for (unsigned i = 0; i < 3; ++i) {
    for (const BlockRef ref : allocate(cache, i, 30)) {
      ASSERT_TRUE(cache.free(ref));
    }
  }
  EXPECT_LE(pool.keeper.census(0).held, 16U);
  EXPECT_GE(pool.keeper.census(0).held, 8U);
  EXPECT_LE(pool.keeper.census(1).held, 2U);
  EXPECT_GE(pool.keeper.census(1).held, 1U);
  EXPECT_EQ(pool.keeper.census(2).held, 0U);
}

TEST(BlockCache, gives_everything_back_when_asked_and_at_the_end) {
  Pool pool(shape());
  const auto one = pool.join();
  {
    BlockCache cache(*one);
    const auto blocks = allocate(cache, 0, 8);
    for (const BlockRef ref : blocks) {
      ASSERT_TRUE(cache.free(ref));
    }
    cache.flush();
    EXPECT_EQ(pool.count(0), "2048 0 0");
    ASSERT_TRUE(cache.free(cache.try_allocate(0).value()));
    EXPECT_EQ(pool.count(0), "2047 1 0");
  }
  EXPECT_EQ(pool.count(0), "2048 0 0");
}

TEST(BlockCache, frees_nothing_twice_and_nothing_of_others) {
  Pool pool(shape());
  const auto one = pool.join();
  const auto two = pool.join();
  BlockCache cache(*one);
  const auto ref = cache.try_allocate(0);
  const auto foreign = two->try_allocate(0);
  ASSERT_TRUE(ref && foreign);
  EXPECT_FALSE(cache.free(*foreign));
  EXPECT_FALSE(cache.free({.block = shape().blocks(), .generation = 0}));
  EXPECT_FALSE(cache.free({.block = ref->block, .generation = 1}));
  EXPECT_TRUE(cache.free(*ref));
  EXPECT_FALSE(cache.free(*ref));
  EXPECT_EQ(allocate(cache, 0, 2)[1].block == ref->block, false);
}

TEST(BlockCache, puts_nothing_by_while_somebody_waits) {
  Pool pool(test::pool_geometry({{64, 64}}));
  const auto one = pool.join();
  const auto two = pool.join();
  BlockCache cache(*one);
  const auto blocks = allocate(cache, 0, 64);
  ASSERT_TRUE(cache.free(blocks[0]));
  EXPECT_EQ(two->try_allocate(0), std::nullopt);
  std::optional<BlockRef> got;
  std::thread waiter([&] { got = two->allocate(0, kNever); });
  while (!two->is_wanted(0)) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(cache.free(blocks[1]));
  waiter.join();
  EXPECT_TRUE(got);
  EXPECT_EQ(pool.keeper.census(0).held, 63U);
}

TEST(BlockCache, loses_its_blocks_with_its_member) {
  Pool pool(shape());
  const auto one = pool.join();
  BlockCache cache(*one);
  ASSERT_TRUE(cache.free(cache.try_allocate(0).value()));
  pool.keeper.retire(one->self(), test::kBegin);
  EXPECT_EQ(pool.keeper.sweep(test::kAfterQuarantine), 1U);
  EXPECT_EQ(pool.count(0), "2048 0 0");
}

}  // namespace
}  // namespace flowfs::pool
