// SPDX-License-Identifier: BSD-3-Clause
// Maps the files of the tree: through the mount, or where that cannot be, the memory that the
// daemon hands out for them over the socket beside it (wire.h, "the socket").
//
// Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "flowfs/wire.h"

namespace flowfs::lib {

// How the socket knows a file.
struct MemoryName {
  std::uint32_t file;  // FLOWFS_MEMORY_*
  std::uint64_t object;
};

// The first `bytes` of `opened`, which is `name` of the tree at `mount`. Errors: those of mmap;
// those of connecting and ETIMEDOUT; what the daemon answers; EPROTO it is not the daemon, or not
// that memory.
Result<Mapping> map_memory(const Fd& opened, std::size_t bytes, Mapping::Access access,
                           const std::string& mount, MemoryName name);

// After the ioctl that maps it: the first FLUSH tells the daemon whose the mapping is, so that this
// process's death is noticed even where a forked child keeps the file open. Errors: those of dup.
Status introduce(const Fd& mapped);

}  // namespace flowfs::lib
