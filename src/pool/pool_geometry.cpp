// SPDX-License-Identifier: BSD-3-Clause
#include "pool/pool_geometry.hpp"

#include <algorithm>

#include "pool/shared.hpp"

namespace flowfs::pool {

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kBlockAlign = 64;
constexpr std::uint64_t kHintsAlign = 64;
constexpr std::uint64_t kMostBlocks = (std::uint64_t{1} << 31) - 1;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 40;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t step) {
  return (value + step - 1) / step * step;
}

// Both are compared whole, so what is unused must be alike too.
bool same_table(const flowfs_pool_attach& one, const flowfs_pool_attach& two) {
  return std::ranges::equal(
      one.class_table, two.class_table, [](const flowfs_pool_class& a, const flowfs_pool_class& b) {
        return a.offset == b.offset && a.block_bytes == b.block_bytes && a.blocks == b.blocks;
      });
}

}  // namespace

Result<PoolGeometry> PoolGeometry::plan(std::span<const Size> sizes, unsigned shards) {
  const auto refuse = [] { return fail(EINVAL, "geometry of a pool"); };
  if (sizes.empty() || sizes.size() > FLOWFS_POOL_CLASSES_MOST || shards == 0 ||
      shards > FLOWFS_POOL_SHARDS_MOST) {
    return refuse();
  }
  std::uint64_t blocks = 0;
  std::uint32_t before = 0;
  for (const Size& size : sizes) {
    blocks += size.blocks;
    if (size.blocks == 0 || size.block_bytes <= before || size.block_bytes % kBlockAlign != 0 ||
        blocks > kMostBlocks) {
      return refuse();
    }
    before = size.block_bytes;
  }
  PoolGeometry geometry;
  geometry.count_ = static_cast<unsigned>(sizes.size());
  geometry.shards_ = shards;
  geometry.blocks_ = static_cast<std::uint32_t>(blocks);
  geometry.hints_offset_ =
      round_up(geometry.words_offset() + blocks * sizeof(std::uint64_t), kHintsAlign);
  // Hints are read eight at a time: the last eight end within the table, whatever their number.
  std::uint64_t offset = round_up(geometry.hints_offset_ + round_up(blocks, 8), kPage);
  std::uint32_t first = 0;
  for (unsigned i = 0; i < geometry.count_; ++i) {
    geometry.classes_[i] = {offset, sizes[i].block_bytes, sizes[i].blocks, first};
    first += sizes[i].blocks;
    offset = round_up(offset + std::uint64_t{sizes[i].block_bytes} * sizes[i].blocks, kPage);
    if (offset > kMostBytes) {
      return refuse();
    }
  }
  geometry.pool_bytes_ = offset;
  return geometry;
}

Result<PoolGeometry> PoolGeometry::from(const flowfs_pool_attach& attach) {
  if (attach.version != FLOWFS_LAYOUT_VERSION) {
    return fail(EPROTONOSUPPORT, "layout of a pool");
  }
  std::array<Size, FLOWFS_POOL_CLASSES_MOST> sizes{};
  std::ranges::transform(attach.class_table, sizes.begin(), [](const flowfs_pool_class& its) {
    return Size{its.block_bytes, its.blocks};
  });
  if (attach.classes > sizes.size()) {
    return fail(EINVAL, "geometry of a pool");
  }
  auto geometry = plan(std::span(sizes).first(attach.classes), attach.shards);
  if (!geometry) {
    return geometry;
  }
  const flowfs_pool_attach same = geometry->describe();
  if (attach.pool_bytes != same.pool_bytes || attach.words_offset != same.words_offset ||
      attach.hints_offset != same.hints_offset || attach.blocks != same.blocks ||
      !same_table(attach, same)) {
    return fail(EINVAL, "geometry of a pool");
  }
  return geometry;
}

flowfs_pool_attach PoolGeometry::describe() const {
  flowfs_pool_attach attach{};
  attach.version = FLOWFS_LAYOUT_VERSION;
  attach.pool_bytes = pool_bytes_;
  attach.words_offset = words_offset();
  attach.hints_offset = hints_offset_;
  attach.blocks = blocks_;
  attach.classes = count_;
  attach.shards = shards_;
  std::ranges::transform(classes(), attach.class_table, [](const PoolClass& its) {
    return flowfs_pool_class{its.offset, its.block_bytes, its.blocks};
  });
  return attach;
}

std::optional<unsigned> PoolGeometry::class_for(std::size_t bytes) const {
  const auto found = std::ranges::find_if(
      classes(), [bytes](const PoolClass& its) { return its.block_bytes >= bytes; });
  if (found == classes().end()) {
    return std::nullopt;
  }
  return static_cast<unsigned>(found - classes().begin());
}

bool PoolGeometry::contains(const flowfs_block& descriptor) const {
  const auto index = class_of(descriptor.block);
  return index && descriptor.length >= 1 &&
         std::uint64_t{descriptor.offset} + descriptor.length <= classes_[*index].block_bytes;
}

AttachOutcome check_pool(std::span<const std::byte> pool, const PoolGeometry& geometry,
                         std::uint64_t serial) {
  if (pool.size() < geometry.pool_bytes()) {
    return AttachOutcome::corrupt;
  }
  const auto& header = *reinterpret_cast<const flowfs_pool*>(pool.data());
  // acquire, pairs with the store in PoolMemory::create: the other constants are there.
  const std::uint64_t magic = shared(header.magic).load(std::memory_order_acquire);
  if (magic == 0) {
    return AttachOutcome::not_ready;
  }
  if (magic != FLOWFS_POOL_MAGIC) {
    return AttachOutcome::corrupt;
  }
  // relaxed: each is read once and compared; what changes later is never looked at.
  constexpr auto kRelaxed = std::memory_order_relaxed;
  if (shared(header.version).load(kRelaxed) != FLOWFS_LAYOUT_VERSION) {
    return AttachOutcome::wrong_version;
  }
  const bool same = shared(header.header_bytes).load(kRelaxed) == FLOWFS_POOL_HEADER_BYTES &&
                    shared(header.serial).load(kRelaxed) == serial;
  return same ? AttachOutcome::ok : AttachOutcome::corrupt;
}

}  // namespace flowfs::pool
