// SPDX-License-Identifier: BSD-3-Clause
#include "pool/block_cache.hpp"

#include <algorithm>

namespace flowfs::pool {

BlockCache::BlockCache(Slab& slab) : slab_(&slab) {
  const auto classes = slab.geometry().classes();
  for (std::size_t i = 0; i < classes.size(); ++i) {
    shelves_[i].most = std::min(kMost, classes[i].blocks / 32);
  }
}

std::optional<BlockRef> BlockCache::try_allocate(unsigned class_index) {
  if (const auto ref = take_from(shelves_[class_index])) {
    return ref;
  }
  return slab_->try_allocate(class_index);
}

std::optional<BlockRef> BlockCache::allocate(unsigned class_index, Instant deadline) {
  if (const auto ref = take_from(shelves_[class_index])) {
    return ref;
  }
  return slab_->allocate(class_index, deadline);
}

bool BlockCache::free(BlockRef ref) {
  const auto class_index = slab_->geometry().class_of(ref.block);
  if (!class_index) {
    return false;
  }
  Shelf& shelf = shelves_[*class_index];
  if (shelf.most == 0 || slab_->is_wanted(*class_index)) [[unlikely]] {
    shrink(shelf, 0);
    return slab_->free(ref);
  }
  // Freed twice, the word would not tell: it is still this member's.
  if (!slab_->is_mine(ref) ||
      std::ranges::find(shelf.blocks.begin(), shelf.blocks.begin() + shelf.count, ref) !=
          shelf.blocks.begin() + shelf.count) {
    return false;
  }
  if (shelf.count == shelf.most) {
    shrink(shelf, shelf.most / 2);
  }
  slab_->hide(ref);
  shelf.blocks[shelf.count++] = ref;
  return true;
}

void BlockCache::flush() {
  for (Shelf& shelf : shelves_) {
    shrink(shelf, 0);
  }
}

std::optional<BlockRef> BlockCache::take_from(Shelf& shelf) {
  if (shelf.count == 0) {
    return std::nullopt;
  }
  const BlockRef ref = shelf.blocks[--shelf.count];
  slab_->show(ref);
  return ref;
}

void BlockCache::shrink(Shelf& shelf, std::uint32_t count) {
  const std::uint32_t excess = shelf.count - count;
  for (std::uint32_t i = 0; i < excess; ++i) {
    // False: somebody scribbled on the word, and the block is no longer ours to free.
    static_cast<void>(slab_->free(shelf.blocks[i]));
  }
  std::copy(shelf.blocks.begin() + excess, shelf.blocks.begin() + shelf.count,
            shelf.blocks.begin());
  shelf.count = count;
}

}  // namespace flowfs::pool
