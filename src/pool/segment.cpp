// SPDX-License-Identifier: BSD-3-Clause
#include "pool/segment.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "pool/shared.hpp"

namespace flowfs::pool {

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLongestMtu = std::uint64_t{1} << 30;
constexpr std::uint64_t kLargestHot = std::uint64_t{1} << 30;
constexpr std::uint64_t kMostDepth = std::uint64_t{64} << 20;
constexpr std::uint64_t kLargestBulk = std::uint64_t{4} << 30;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t step) {
  return (value + step - 1) / step * step;
}

// A record takes at most an eighth of the hot ring, so that padding never wastes more.
constexpr std::uint64_t inline_limit(std::uint64_t hot_bytes) {
  return hot_bytes / 8 - sizeof(flowfs_record);
}

}  // namespace

Result<Geometry> Geometry::plan(std::size_t mtu_bytes, std::size_t depth_bytes,
                                std::size_t hot_bytes) {
  if (hot_bytes < kPage || hot_bytes % kPage != 0 || hot_bytes > kLargestHot || mtu_bytes == 0 ||
      mtu_bytes >= kLongestMtu) {
    return fail(EINVAL, "geometry of a segment");
  }
  const std::uint64_t most_inline = inline_limit(hot_bytes);
  std::uint64_t bulk = 0;
  if (mtu_bytes > most_inline) {
    const std::uint64_t two = 2 * round_up(mtu_bytes, FLOWFS_BULK_ALIGN);
    bulk = round_up(std::max(two, std::min<std::uint64_t>(depth_bytes, kMostDepth)), kPage);
  }
  return Geometry{
      .hot_bytes = static_cast<std::uint32_t>(hot_bytes),
      .inline_bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(most_inline, mtu_bytes)),
      .bulk_bytes = bulk,
      .mtu_bytes = static_cast<std::uint32_t>(mtu_bytes)};
}

Result<Geometry> Geometry::from(const flowfs_attach& attach) {
  const Geometry geometry{.hot_bytes = attach.hot_bytes,
                          .inline_bytes = attach.inline_bytes,
                          .bulk_bytes = attach.bulk_bytes,
                          .mtu_bytes = attach.mtu_bytes};
  if (!geometry.valid() || attach.hot_offset != geometry.hot_offset() ||
      attach.bulk_offset != geometry.bulk_offset()) {
    return fail(EINVAL, "geometry of a segment");
  }
  return geometry;
}

bool Geometry::valid() const {
  if (hot_bytes < kPage || hot_bytes % kPage != 0 || hot_bytes > kLargestHot || mtu_bytes == 0 ||
      mtu_bytes >= kLongestMtu || bulk_bytes > kLargestBulk || bulk_bytes % kPage != 0) {
    return false;
  }
  if (inline_bytes != std::min<std::uint64_t>(inline_limit(hot_bytes), mtu_bytes)) {
    return false;
  }
  return mtu_bytes == inline_bytes || bulk_bytes >= 2 * round_up(mtu_bytes, FLOWFS_BULK_ALIGN);
}

AttachOutcome check_segment(std::span<const std::byte> segment, const Geometry& geometry,
                            std::uint64_t flow, Generation generation) {
  if (segment.size() < sizeof(flowfs_segment)) {
    return AttachOutcome::corrupt;
  }
  const flowfs_segment& header = segment_header(segment);
  // acquire, pairs with the store in Segment::create: the other constants are there.
  const std::uint64_t magic = shared(header.magic).load(std::memory_order_acquire);
  if (magic == 0) {
    return AttachOutcome::not_ready;
  }
  if (magic != FLOWFS_SEGMENT_MAGIC) {
    return AttachOutcome::corrupt;
  }
  // relaxed: each is read once and compared; what changes later is never looked at.
  constexpr auto kRelaxed = std::memory_order_relaxed;
  if (shared(header.version).load(kRelaxed) != FLOWFS_LAYOUT_VERSION) {
    return AttachOutcome::wrong_version;
  }
  const bool same = segment.size() >= geometry.segment_bytes() &&
                    shared(header.header_bytes).load(kRelaxed) == FLOWFS_SEGMENT_HEADER_BYTES &&
                    shared(header.generation).load(kRelaxed) == std::to_underlying(generation) &&
                    shared(header.flow).load(kRelaxed) == flow &&
                    shared(header.bulk_offset).load(kRelaxed) == geometry.bulk_offset() &&
                    shared(header.bulk_bytes).load(kRelaxed) == geometry.bulk_bytes &&
                    shared(header.hot_offset).load(kRelaxed) == geometry.hot_offset() &&
                    shared(header.hot_bytes).load(kRelaxed) == geometry.hot_bytes &&
                    shared(header.inline_bytes).load(kRelaxed) == geometry.inline_bytes &&
                    shared(header.mtu_bytes).load(kRelaxed) == geometry.mtu_bytes;
  return same ? AttachOutcome::ok : AttachOutcome::corrupt;
}

Segment::Segment(Fd fd, std::shared_ptr<Mapping> mapping, Generation generation)
    : fd_(std::move(fd)), mapping_(std::move(mapping)), generation_(generation) {}

Result<Segment> Segment::create(const Geometry& geometry, std::uint64_t flow,
                                Generation generation) {
  FLOWFS_CHECK(geometry.valid());
  const std::size_t bytes = geometry.segment_bytes();
  auto fd = make_sealed_memfd("flowfs-segment", bytes, geometry.bulk_offset());
  if (!fd) {
    return std::unexpected(fd.error());
  }
  auto mapping = Mapping::map(*fd, bytes, Mapping::Access::read_write);
  if (!mapping) {
    return std::unexpected(mapping.error());
  }
  Segment segment(std::move(*fd), std::make_shared<Mapping>(std::move(*mapping)), generation);
  flowfs_segment& header = segment.header();
  header.version = FLOWFS_LAYOUT_VERSION;
  header.header_bytes = FLOWFS_SEGMENT_HEADER_BYTES;
  header.generation = std::to_underlying(generation);
  header.flow = flow;
  header.bulk_offset = geometry.bulk_offset();
  header.bulk_bytes = geometry.bulk_bytes;
  header.hot_offset = static_cast<std::uint32_t>(geometry.hot_offset());
  header.hot_bytes = geometry.hot_bytes;
  header.inline_bytes = geometry.inline_bytes;
  header.mtu_bytes = geometry.mtu_bytes;
  // release, pairs with check_segment: whoever sees the magic sees the constants.
  shared(header.magic).store(FLOWFS_SEGMENT_MAGIC, std::memory_order_release);
  return segment;
}

void Segment::discard() {
  // Cannot fail on a memfd of ours that is not sealed against writing; if it did, the memory would
  // only live as long as the mappings.
  (void)::madvise(mapping_->data(), mapping_->size(), MADV_REMOVE);
}

flowfs_segment& Segment::header() const { return segment_header(mapping_->bytes()); }

}  // namespace flowfs::pool
