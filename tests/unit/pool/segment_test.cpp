// SPDX-License-Identifier: BSD-3-Clause
#include "pool/segment.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "lane_fixture.hpp"

namespace flowfs::pool {
namespace {

constexpr std::uint64_t kFlow = 12;
constexpr Generation kGeneration{3};

Segment make(const Geometry& geometry) {
  auto segment = Segment::create(geometry, kFlow, kGeneration);
  EXPECT_TRUE(segment.has_value()) << segment.error().message();
  return std::move(*segment);
}

TEST(Geometry, puts_header_and_hot_ring_into_32_kib) {
  const auto geometry = Geometry::plan(917'504, 1'048'576);
  ASSERT_TRUE(geometry.has_value());
  EXPECT_EQ(geometry->bulk_offset(), 32'768U);
  EXPECT_EQ(geometry->inline_bytes, 3'568U);
  EXPECT_GE(geometry->bulk_bytes, 2U * 917'504U);
  EXPECT_TRUE(geometry->valid());
}

TEST(Geometry, needs_no_bulk_ring_for_short_messages) {
  const auto geometry = Geometry::plan(1'500, 1'048'576);
  ASSERT_TRUE(geometry.has_value());
  EXPECT_EQ(geometry->bulk_bytes, 0U);
  EXPECT_EQ(geometry->inline_bytes, 1'500U);
  EXPECT_TRUE(geometry->valid());
}

TEST(Geometry, follows_a_large_depth_but_not_for_ever) {
  EXPECT_EQ(Geometry::plan(10'000, 8 << 20)->bulk_bytes, 8U << 20);
  EXPECT_EQ(Geometry::plan(10'000, SIZE_MAX)->bulk_bytes, 64U << 20);
}

TEST(Geometry, refuses_what_cannot_be_laid_out) {
  EXPECT_FALSE(Geometry::plan(0, 0).has_value());
  EXPECT_FALSE(Geometry::plan(1 << 30, 0).has_value());
  EXPECT_FALSE(Geometry::plan(100, 0, 0).has_value());
  EXPECT_FALSE(Geometry::plan(100, 0, 5'000).has_value());
}

TEST(Geometry, is_checked_when_it_comes_from_outside) {
  const Geometry geometry = test::geometry(10'000);
  flowfs_attach attach{};
  attach.hot_offset = static_cast<std::uint32_t>(geometry.hot_offset());
  attach.hot_bytes = geometry.hot_bytes;
  attach.inline_bytes = geometry.inline_bytes;
  attach.bulk_offset = geometry.bulk_offset();
  attach.bulk_bytes = geometry.bulk_bytes;
  attach.mtu_bytes = geometry.mtu_bytes;
  ASSERT_TRUE(Geometry::from(attach).has_value());
  EXPECT_EQ(*Geometry::from(attach), geometry);
  flowfs_attach lie = attach;
  lie.hot_bytes += 16;
  EXPECT_FALSE(Geometry::from(lie).has_value());
  lie = attach;
  lie.bulk_bytes = 4'096;
  EXPECT_FALSE(Geometry::from(lie).has_value());
  lie = attach;
  lie.inline_bytes += 1;
  EXPECT_FALSE(Geometry::from(lie).has_value());
  lie = attach;
  lie.bulk_offset += 4'096;
  EXPECT_FALSE(Geometry::from(lie).has_value());
}

TEST(Segment, is_sealed_private_and_sparse) {
  const Geometry geometry = test::geometry(917'504);
  const Segment segment = make(geometry);
  struct stat status{};
  ASSERT_EQ(::fstat(segment.fd().get(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), geometry.segment_bytes());
  EXPECT_LE(static_cast<std::size_t>(status.st_blocks) * 512, geometry.bulk_offset());
  const int seals = ::fcntl(segment.fd().get(), F_GET_SEALS);
  constexpr int kWanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  EXPECT_EQ(seals & kWanted, kWanted);
  EXPECT_EQ(::ftruncate(segment.fd().get(), 4096), -1);
}

TEST(Segment, passes_its_own_check) {
  const Geometry geometry = test::geometry(10'000);
  const Segment segment = make(geometry);
  EXPECT_EQ(check_segment(segment.bytes(), geometry, kFlow, kGeneration), AttachOutcome::ok);
}

TEST(Segment, tells_not_ready_wrong_version_and_corrupt_apart) {
  const Geometry geometry = test::geometry(10'000);
  const Segment segment = make(geometry);
  const auto check = [&] { return check_segment(segment.bytes(), geometry, kFlow, kGeneration); };
  flowfs_segment& header = segment.header();
  header.magic = 0;
  EXPECT_EQ(check(), AttachOutcome::not_ready);
  header.magic = FLOWFS_STATUS_MAGIC;
  EXPECT_EQ(check(), AttachOutcome::corrupt);
  header.magic = FLOWFS_SEGMENT_MAGIC;
  header.version = FLOWFS_LAYOUT_VERSION + 1;
  EXPECT_EQ(check(), AttachOutcome::wrong_version);
  header.version = FLOWFS_LAYOUT_VERSION;
  header.hot_bytes *= 2;
  EXPECT_EQ(check(), AttachOutcome::corrupt);
  header.hot_bytes /= 2;
  EXPECT_EQ(check(), AttachOutcome::ok);
  EXPECT_EQ(check_segment(segment.bytes(), geometry, kFlow + 1, kGeneration),
            AttachOutcome::corrupt);
  EXPECT_EQ(check_segment(segment.bytes(), geometry, kFlow, Generation{4}), AttachOutcome::corrupt);
  EXPECT_EQ(check_segment(segment.bytes().first(64), geometry, kFlow, kGeneration),
            AttachOutcome::corrupt);
}

}  // namespace
}  // namespace flowfs::pool
