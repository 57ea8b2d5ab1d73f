// SPDX-License-Identifier: BSD-3-Clause
// A pool in memory of its own, and its members: what tests of pools share.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pool/pool_keeper.hpp"
#include "pool/pool_memory.hpp"
#include "pool/slab.hpp"

namespace flowfs::pool::test {

inline constexpr std::uint64_t kSerial = 7;

inline PoolGeometry pool_geometry(std::vector<PoolGeometry::Size> sizes, unsigned shards = 4) {
  const auto planned = PoolGeometry::plan(sizes, shards);
  FLOWFS_CHECK(planned.has_value());
  return *planned;
}

// Classes whose blocks share eights of hints with those of their neighbours.
inline PoolGeometry small_pool() { return pool_geometry({{256, 21}, {4'096, 10}, {65'536, 3}}); }

struct Pool {
  explicit Pool(const PoolGeometry& shape = small_pool())
      : memory(PoolMemory::create(shape, kSerial).value()),
        keeper(shape, memory.bytes(), kSerial),
        words(shape, memory.bytes()) {
    for (unsigned i = 0; i < shape.classes().size(); ++i) {
      FLOWFS_CHECK(memory.populate(i).has_value());
    }
  }
  // A member under a number of its own. One mapping serves all of them here.
  std::unique_ptr<Slab> join(unsigned shard = 0) {
    return std::make_unique<Slab>(memory.geometry(), memory.bytes(), keeper.issue_holder().value(),
                                  shard);
  }
  // "free held in_flight" of a class.
  std::string count(unsigned class_index) {
    const auto its = keeper.census(class_index);
    return std::to_string(its.free) + " " + std::to_string(its.held) + " " +
           std::to_string(its.in_flight);
  }

  PoolMemory memory;
  PoolKeeper keeper;
  OwnerWords words;
};

inline flowfs_block descriptor(BlockRef ref, std::uint32_t length, std::uint32_t offset = 0) {
  return {.pool = kSerial,
          .block = ref.block,
          .generation = ref.generation,
          .offset = offset,
          .length = length};
}

inline constexpr Instant kBegin{std::chrono::seconds(1'000)};
inline constexpr Instant kAfterQuarantine = kBegin + PoolKeeper::kQuarantine;

}  // namespace flowfs::pool::test
