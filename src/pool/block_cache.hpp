// SPDX-License-Identifier: BSD-3-Clause
// One thread's blocks that were freed and are likely to be wanted again: still HELD by the member,
// so that allocating and freeing them changes nothing that anybody else sees.
//
// Threads: one. Peer death: cached blocks are held ones, and freed as those are.
// Invariants:
//   1. At most kMost blocks a class, and no more than a 32nd of it: a class of few blocks is not
//      spread over the caches of threads that need none.
//   2. While somebody waits for a block of a class, nothing of it is put by.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "pool/slab.hpp"

namespace flowfs::pool {

class BlockCache {
 public:
  static constexpr std::uint32_t kMost = 16;

  // The slab outlives the cache.
  explicit BlockCache(Slab& slab);
  ~BlockCache() { flush(); }
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // As those of the slab.
  std::optional<BlockRef> try_allocate(unsigned class_index);
  std::optional<BlockRef> allocate(unsigned class_index, Instant deadline);
  [[nodiscard]] bool free(BlockRef ref);

  // Gives everything back to the pool: before a long sleep, and at the end.
  void flush();

 private:
  struct Shelf {
    std::array<BlockRef, kMost> blocks;
    std::uint32_t count = 0;
    std::uint32_t most = 0;
  };
  std::optional<BlockRef> take_from(Shelf& shelf);
  // Down to `count`, the ones put by first going first.
  void shrink(Shelf& shelf, std::uint32_t count);

  Slab* slab_;
  std::array<Shelf, FLOWFS_POOL_CLASSES_MOST> shelves_{};
};

}  // namespace flowfs::pool
