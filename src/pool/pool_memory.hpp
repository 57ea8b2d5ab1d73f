// SPDX-License-Identifier: BSD-3-Clause
// The memory of a pool, as the daemon owns it: a sealed memfd with every block free in shard 0.
//
// Threads: one, the loop's, where nothing else is said. Members are other processes.
// Owns: the memfd and the daemon's mapping of it, which is in no core dump.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "pool/pool_geometry.hpp"

namespace flowfs::pool {

class PoolMemory {
 public:
  // Header, words and hints are there at once, blocks once their class is populated. Errors: those
  // of memfd_create, fallocate and mmap.
  static Result<PoolMemory> create(const PoolGeometry& geometry, std::uint64_t serial);

  // Allocates the blocks of a class, so that a full machine is an error here and not a SIGBUS
  // later. Does nothing the second time. Errors: those of fallocate.
  Status populate(unsigned class_index);
  // The two steps of that, where the first is to be taken elsewhere: on any thread, and when it has
  // succeeded.
  [[nodiscard]] Status allocate(unsigned class_index) const;
  void mark_populated(unsigned class_index) { populated_ |= 1U << class_index; }
  // Keeps the blocks of a class, which are there, out of swap. Any thread. Errors: as lock().
  [[nodiscard]] Status lock_blocks(unsigned class_index) const;
  // Keeps what is populated out of swap, and all of the table. Errors: those of mlock (ENOMEM,
  // EPERM: more than the limit allows).
  Status lock();
  // Bit C: class C is populated.
  [[nodiscard]] std::uint32_t populated() const { return populated_; }

  // An answer to FLOWFS_IOC_POOL, but for the holder.
  [[nodiscard]] flowfs_pool_attach describe() const;

  [[nodiscard]] const PoolGeometry& geometry() const { return geometry_; }
  [[nodiscard]] std::uint64_t serial() const { return serial_; }
  [[nodiscard]] const Fd& fd() const { return fd_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return mapping_.bytes(); }
  // Gives every page back, whoever still maps them: the pool is over, its mappings may not be.
  void discard();

 private:
  PoolMemory(const PoolGeometry& geometry, std::uint64_t serial, Fd fd, Mapping mapping);
  [[nodiscard]] std::span<std::byte> pages_of(unsigned class_index) const;

  PoolGeometry geometry_;
  std::uint64_t serial_;
  Fd fd_;
  Mapping mapping_;
  std::uint32_t populated_ = 0;
};

}  // namespace flowfs::pool
