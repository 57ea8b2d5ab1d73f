// SPDX-License-Identifier: BSD-3-Clause
// What the configuration says about pools.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "pool/pool_geometry.hpp"

namespace flowfs::fs {

using PoolSizes = std::vector<pool::PoolGeometry::Size>;

// 111 MiB if every class is used: small messages, pages, packets in batches, files, and frames.
inline PoolSizes standard_pool_sizes() {
  return {{.block_bytes = 256, .blocks = 4096},     {.block_bytes = 1024, .blocks = 2048},
          {.block_bytes = 4096, .blocks = 1024},    {.block_bytes = 16'384, .blocks = 512},
          {.block_bytes = 65'536, .blocks = 256},   {.block_bytes = 262'144, .blocks = 64},
          {.block_bytes = 1'048'576, .blocks = 32}, {.block_bytes = 4'194'304, .blocks = 8}};
}

struct PoolOptions {
  PoolSizes shared = standard_pool_sizes();
  PoolSizes personal = standard_pool_sizes();
  std::uint64_t shards = 4;
  bool prefault = false;       // all the memory of a pool is there from the start
  bool lock = true;            // and stays in memory, as far as the daemon's limit allows
  std::optional<gid_t> group;  // who shares the shared pool with root; none: nobody
};

}  // namespace flowfs::fs
