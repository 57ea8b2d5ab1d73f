// SPDX-License-Identifier: BSD-3-Clause
// How a pool is divided: header page, owner words, hint bytes, blocks class by class
// (flowfs/wire.h).
//
// A value, planned by the daemon or taken from its answer to FLOWFS_IOC_POOL; never from the header
// in the pool, which every member can write.
// Invariants: plan() lays the same sizes out in the same way always, so whatever from() accepts is
// what plan() would have made, and no offset in it leads out of pool_bytes().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.hpp"
#include "flowfs/wire.h"
#include "pool/segment.hpp"

namespace flowfs::pool {

struct PoolClass {
  std::uint64_t offset;  // of its first block
  std::uint32_t block_bytes;
  std::uint32_t blocks;
  std::uint32_t first_block;
  bool operator==(const PoolClass&) const = default;
};

class PoolGeometry {
 public:
  struct Size {
    std::uint32_t block_bytes;
    std::uint32_t blocks;
  };
  // 1 to 16 sizes, growing, each a multiple of 64 and of at least one block; 1 to 64 shards; fewer
  // than 2^31 blocks and at most 1 TiB in all. Errors: EINVAL.
  static Result<PoolGeometry> plan(std::span<const Size> sizes, unsigned shards);
  // From outside. Errors: EPROTONOSUPPORT another layout version; EINVAL not a geometry.
  static Result<PoolGeometry> from(const flowfs_pool_attach& attach);

  // Without what differs from pool to pool: holder, serial and populated are 0.
  [[nodiscard]] flowfs_pool_attach describe() const;

  [[nodiscard]] std::span<const PoolClass> classes() const {
    return std::span(classes_).first(count_);
  }
  [[nodiscard]] unsigned shards() const { return shards_; }
  [[nodiscard]] std::uint32_t blocks() const { return blocks_; }
  [[nodiscard]] std::size_t pool_bytes() const { return pool_bytes_; }
  [[nodiscard]] std::size_t words_offset() const { return FLOWFS_POOL_HEADER_BYTES; }
  [[nodiscard]] std::size_t hints_offset() const { return hints_offset_; }
  // Header, words and hints; the blocks of class 0 follow.
  [[nodiscard]] std::size_t table_bytes() const { return classes_[0].offset; }

  // The smallest class whose blocks hold so many.
  [[nodiscard]] std::optional<unsigned> class_for(std::size_t bytes) const;
  // Nothing: there is no such block.
  [[nodiscard]] std::optional<unsigned> class_of(std::uint32_t block) const {
    if (block >= blocks_) {
      return std::nullopt;
    }
    unsigned index = 0;
    while (block - classes_[index].first_block >= classes_[index].blocks) {
      ++index;
    }
    return index;
  }
  [[nodiscard]] std::size_t offset_of(std::uint32_t block, unsigned class_index) const {
    const PoolClass& its = classes_[class_index];
    return its.offset + std::size_t{block - its.first_block} * its.block_bytes;
  }
  // Whether a descriptor, a copy of what a peer wrote, names bytes of one block of this pool.
  [[nodiscard]] bool contains(const flowfs_block& descriptor) const;

  bool operator==(const PoolGeometry&) const = default;

 private:
  PoolGeometry() = default;

  std::array<PoolClass, FLOWFS_POOL_CLASSES_MOST> classes_{};
  unsigned count_ = 0;
  unsigned shards_ = 0;
  std::uint32_t blocks_ = 0;
  std::size_t hints_offset_ = 0;
  std::size_t pool_bytes_ = 0;
};

// Whether the mapped bytes are the pool of this serial. Says nothing about words and blocks.
AttachOutcome check_pool(std::span<const std::byte> pool, const PoolGeometry& geometry,
                         std::uint64_t serial);

}  // namespace flowfs::pool
