// SPDX-License-Identifier: BSD-3-Clause
#include "pool/pool_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <cstring>
#include <utility>

#include "pool/shared.hpp"

namespace flowfs::pool {

PoolMemory::PoolMemory(const PoolGeometry& geometry, std::uint64_t serial, Fd fd, Mapping mapping)
    : geometry_(geometry), serial_(serial), fd_(std::move(fd)), mapping_(std::move(mapping)) {}

Result<PoolMemory> PoolMemory::create(const PoolGeometry& geometry, std::uint64_t serial) {
  auto fd = make_sealed_memfd("flowfs-pool", geometry.pool_bytes(), geometry.table_bytes());
  if (!fd) {
    return std::unexpected(fd.error());
  }
  auto mapping = Mapping::map(*fd, geometry.pool_bytes(), Mapping::Access::read_write);
  if (!mapping) {
    return std::unexpected(mapping.error());
  }
  // Words of zeros say: free, in shard 0, generation 0. The hints say the same as shard + 1.
  std::memset(mapping->data() + geometry.hints_offset(), 1, geometry.blocks());
  auto& header = *reinterpret_cast<flowfs_pool*>(mapping->data());
  header.version = FLOWFS_LAYOUT_VERSION;
  header.header_bytes = FLOWFS_POOL_HEADER_BYTES;
  header.serial = serial;
  // release, pairs with check_pool: whoever sees the magic sees the rest.
  shared(header.magic).store(FLOWFS_POOL_MAGIC, std::memory_order_release);
  return PoolMemory(geometry, serial, std::move(*fd), std::move(*mapping));
}

Status PoolMemory::populate(unsigned class_index) {
  FLOWFS_CHECK(class_index < geometry_.classes().size());
  if ((populated_ >> class_index & 1U) != 0) {
    return {};
  }
  if (Status allocated = allocate(class_index); !allocated) {
    return allocated;
  }
  mark_populated(class_index);
  return {};
}

Status PoolMemory::allocate(unsigned class_index) const {
  const PoolClass& its = geometry_.classes()[class_index];
  if (::fallocate(fd_.get(), 0, static_cast<off_t>(its.offset),
                  static_cast<off_t>(pages_of(class_index).size())) != 0) {
    return fail_errno("fallocate(pool)");
  }
  return {};
}

Status PoolMemory::lock_blocks(unsigned class_index) const {
  const auto pages = pages_of(class_index);
  return ::mlock(pages.data(), pages.size()) == 0 ? Status{} : fail_errno("mlock(pool)");
}

Status PoolMemory::lock() {
  if (::mlock(mapping_.data(), geometry_.table_bytes()) != 0) {
    return fail_errno("mlock(pool)");
  }
  for (unsigned i = 0; i < geometry_.classes().size(); ++i) {
    if ((populated_ >> i & 1U) == 0) {
      continue;
    }
    if (Status locked = lock_blocks(i); !locked) {
      return locked;
    }
  }
  return {};
}

flowfs_pool_attach PoolMemory::describe() const {
  flowfs_pool_attach attach = geometry_.describe();
  attach.serial = serial_;
  attach.populated = populated_;
  return attach;
}

void PoolMemory::discard() {
  // Cannot fail on a memfd of ours that is not sealed against writing; if it did, the memory would
  // only live as long as the mappings.
  (void)::madvise(mapping_.data(), mapping_.size(), MADV_REMOVE);
}

// Classes begin on pages of their own.
std::span<std::byte> PoolMemory::pages_of(unsigned class_index) const {
  const auto classes = geometry_.classes();
  const std::size_t end =
      class_index + 1 < classes.size() ? classes[class_index + 1].offset : geometry_.pool_bytes();
  return mapping_.bytes().subspan(classes[class_index].offset, end - classes[class_index].offset);
}

}  // namespace flowfs::pool
