// SPDX-License-Identifier: BSD-3-Clause
// This process as a member of a pool: one open pool file, one mapping and one holder for all of its
// ends on a mount.
//
// Threads: any.
// Owns: the pool file, whose closing gives back what the process holds, and the mapping.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "lib/living.hpp"
#include "pool/block_cache.hpp"
#include "pool/slab.hpp"

namespace flowfs::lib {

class PoolMember {
 public:
  // Of the pool below `mount` that this process may open: pools/shared, else its uid's own. Shared
  // by all who ask while one of them lives. Errors: those of open, ioctl and mmap; EPROTO.
  static Result<std::shared_ptr<PoolMember>> of(const std::string& mount);
  // By pool file. Never destroyed, as the ends (fork.cpp).
  static Living<std::string, PoolMember>& living();
  void close_file() { file_.reset(); }

  // From memory that is mapped already, with a number already given.
  PoolMember(const pool::PoolGeometry& geometry, std::span<std::byte> memory, pool::Holder self,
             std::uint64_t serial);
  PoolMember(const PoolMember&) = delete;
  PoolMember& operator=(const PoolMember&) = delete;

  // A number for the blocks that the end `flow`, which is mapped, has in flight.
  [[nodiscard]] Result<pool::LaneNumber> join(std::uint64_t flow) const;

  [[nodiscard]] std::uint64_t serial() const { return serial_; }
  // Nothing: no block is free, or none is as large, or the memory is not to be had.
  std::optional<pool::BlockRef> allocate(std::size_t bytes);
  void free(pool::BlockRef ref);
  [[nodiscard]] pool::Slab& slab() { return slab_; }
  // The bytes of this pool that a record names; none where there are no such.
  [[nodiscard]] std::span<std::byte> bytes_of(const flowfs_block& named) const;

 private:
  PoolMember(Fd file, Mapping memory, const pool::PoolGeometry& geometry,
             const flowfs_pool_attach& answer);
  static Result<std::shared_ptr<PoolMember>> open(const std::string& mount,
                                                  const std::string& name);
  bool populate(unsigned class_index);
  bool complain(unsigned class_index);
  [[nodiscard]] bool ask_for(std::uint32_t wanted) const;

  Fd file_;
  Mapping mapping_;
  std::uint64_t serial_;
  pool::Slab slab_;
  std::mutex mutex_;  // of what follows
  pool::BlockCache cache_;
  std::uint32_t populated_;  // bit C: class C has memory
  Instant next_complaint_{};
};

// A message in a block that this process holds.
struct PooledMessage {
  std::shared_ptr<PoolMember> member;
  pool::BlockRef block;
  std::uint32_t offset = 0;
  std::uint32_t length = 0;

  [[nodiscard]] std::span<std::byte> bytes() const {
    return member->slab().bytes(block).subspan(offset, length);
  }
};

}  // namespace flowfs::lib
