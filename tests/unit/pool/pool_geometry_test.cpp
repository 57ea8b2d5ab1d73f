// SPDX-License-Identifier: BSD-3-Clause
#include "pool/pool_geometry.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "pool_fixture.hpp"

namespace flowfs::pool {
namespace {

using Size = PoolGeometry::Size;

int error_of(const std::vector<Size>& sizes, unsigned shards = 4) {
  const auto planned = PoolGeometry::plan(sizes, shards);
  return planned ? 0 : planned.error().error;
}

TEST(PoolGeometry, lays_its_parts_out_one_behind_the_other) {
  const PoolGeometry geometry = test::pool_geometry({{64, 9}, {192, 100}, {65'536, 3}}, 64);
  EXPECT_EQ(geometry.blocks(), 112U);
  EXPECT_EQ(geometry.words_offset(), 4'096U);
  EXPECT_EQ(geometry.hints_offset() % 64, 0U);
  EXPECT_GE(geometry.hints_offset(), geometry.words_offset() + 112 * 8);
  std::size_t end = geometry.hints_offset() + 112;
  std::uint32_t first = 0;
  for (const PoolClass& its : geometry.classes()) {
    EXPECT_EQ(its.offset % 4'096, 0U);
    EXPECT_GE(its.offset, end);
    EXPECT_EQ(its.first_block, first);
    end = its.offset + std::size_t{its.blocks} * its.block_bytes;
    first += its.blocks;
  }
  EXPECT_GE(geometry.pool_bytes(), end);
  EXPECT_EQ(geometry.pool_bytes() % 4'096, 0U);
}

TEST(PoolGeometry, refuses_what_cannot_be_laid_out) {
  EXPECT_EQ(error_of({{64, 1}}), 0);
  EXPECT_EQ(error_of({}), EINVAL);
  EXPECT_EQ(error_of(std::vector<Size>(17, Size{64, 1})), EINVAL);
  EXPECT_EQ(error_of({{0, 1}}), EINVAL);
  EXPECT_EQ(error_of({{96, 1}}), EINVAL);
  EXPECT_EQ(error_of({{64, 0}}), EINVAL);
  EXPECT_EQ(error_of({{128, 1}, {64, 1}}), EINVAL);
  EXPECT_EQ(error_of({{64, 1}, {64, 1}}), EINVAL);
  EXPECT_EQ(error_of({{64, 1}}, 0), EINVAL);
  EXPECT_EQ(error_of({{64, 1}}, 65), EINVAL);
  EXPECT_EQ(error_of({{64, UINT32_MAX}}), EINVAL);
  EXPECT_EQ(error_of({{64, 1U << 30}, {128, 1U << 30}}), EINVAL);
  EXPECT_EQ(error_of({{0xffffffc0, 1'000}}), EINVAL);
}

TEST(PoolGeometry, finds_the_smallest_class_that_holds_a_message) {
  const PoolGeometry geometry = test::pool_geometry({{256, 9}, {4'096, 100}});
  EXPECT_EQ(geometry.class_for(0), 0U);
  EXPECT_EQ(geometry.class_for(256), 0U);
  EXPECT_EQ(geometry.class_for(257), 1U);
  EXPECT_EQ(geometry.class_for(4'096), 1U);
  EXPECT_EQ(geometry.class_for(4'097), std::nullopt);
}

TEST(PoolGeometry, knows_the_class_of_each_block) {
  const PoolGeometry geometry = test::pool_geometry({{256, 9}, {4'096, 100}});
  EXPECT_EQ(geometry.class_of(0), 0U);
  EXPECT_EQ(geometry.class_of(8), 0U);
  EXPECT_EQ(geometry.class_of(9), 1U);
  EXPECT_EQ(geometry.class_of(108), 1U);
  EXPECT_EQ(geometry.class_of(109), std::nullopt);
  EXPECT_EQ(geometry.class_of(UINT32_MAX), std::nullopt);
}

TEST(PoolGeometry, believes_a_descriptor_only_within_one_block) {
  const PoolGeometry geometry = test::pool_geometry({{256, 9}, {4'096, 100}});
  const auto contains = [&](std::uint32_t block, std::uint32_t offset, std::uint32_t length) {
    return geometry.contains(test::descriptor({.block = block, .generation = 0}, length, offset));
  };
  EXPECT_TRUE(contains(0, 0, 256));
  EXPECT_TRUE(contains(8, 255, 1));
  EXPECT_TRUE(contains(9, 0, 4'096));
  EXPECT_FALSE(contains(8, 0, 257));
  EXPECT_FALSE(contains(8, 256, 1));
  EXPECT_FALSE(contains(8, 1, 0));
  EXPECT_FALSE(contains(8, UINT32_MAX, 2));
  EXPECT_FALSE(contains(8, 2, UINT32_MAX));
  EXPECT_FALSE(contains(109, 0, 1));
}

TEST(PoolGeometry, survives_the_journey_through_an_ioctl) {
  const PoolGeometry geometry = test::pool_geometry({{256, 9}, {4'096, 100}}, 3);
  flowfs_pool_attach attach = geometry.describe();
  attach.holder = 5;
  attach.serial = 6;
  attach.populated = 1;
  const auto arrived = PoolGeometry::from(attach);
  ASSERT_TRUE(arrived);
  EXPECT_EQ(*arrived, geometry);
}

TEST(PoolGeometry, refuses_another_layout) {
  flowfs_pool_attach attach = test::small_pool().describe();
  attach.version = FLOWFS_LAYOUT_VERSION + 1;
  const auto arrived = PoolGeometry::from(attach);
  ASSERT_FALSE(arrived);
  EXPECT_EQ(arrived.error().error, EPROTONOSUPPORT);
}

TEST(PoolGeometry, refuses_each_number_that_is_not_what_would_be_planned) {
  using Change = std::function<void(flowfs_pool_attach&)>;
  const std::vector<Change> changes = {
      [](auto& attach) { ++attach.pool_bytes; },
      [](auto& attach) { attach.words_offset += 8; },
      [](auto& attach) { attach.hints_offset += 64; },
      [](auto& attach) { ++attach.blocks; },
      [](auto& attach) { attach.classes = 0; },
      [](auto& attach) { --attach.classes; },
      [](auto& attach) { ++attach.classes; },
      [](auto& attach) { attach.classes = 17; },
      [](auto& attach) { attach.classes = UINT32_MAX; },
      [](auto& attach) { attach.shards = 0; },
      [](auto& attach) { attach.class_table[0].offset += 4'096; },
      [](auto& attach) { attach.class_table[0].offset = UINT64_MAX; },
      [](auto& attach) { attach.class_table[1].block_bytes += 64; },
      [](auto& attach) { attach.class_table[1].blocks = UINT32_MAX; },
      [](auto& attach) { attach.class_table[15].blocks = 1; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    flowfs_pool_attach attach = test::small_pool().describe();
    changes[i](attach);
    const auto arrived = PoolGeometry::from(attach);
    ASSERT_FALSE(arrived) << i;
    EXPECT_EQ(arrived.error().error, EINVAL) << i;
  }
}

}  // namespace
}  // namespace flowfs::pool
