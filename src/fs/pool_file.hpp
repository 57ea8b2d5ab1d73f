// SPDX-License-Identifier: BSD-3-Clause
// An open pool file: a member of the pool once it has joined, with a number to hold blocks by.
//
// It is a member from FLOWFS_IOC_POOL until it is closed; or until the process that joined has
// gone, where a forked child keeps the file open (as for tx, see MappedFile). Threads: the loop's.
#pragma once

#include <optional>
#include <unordered_set>

#include "fs/ends.hpp"
#include "fs/file.hpp"
#include "fs/pool_filler.hpp"
#include "fs/pools.hpp"

namespace flowfs::fs {

class PoolFile : public File {
 public:
  PoolFile(PoolUse use, PoolFiller& filler, Ends& ends, Replies& replies, Node node, int flags)
      : File(replies, node, flags), use_(std::move(use)), filler_(filler), ends_(ends) {}
  ~PoolFile() override { leave(); }

  void ioctl(Request request, unsigned command, std::span<const std::byte> in,
             std::size_t out_size) override;
  void flush(Request request, std::uint64_t lock_owner) override;

  // An end that joined through this file has left the pool.
  void forget(registry::FlowId end) { joined_ends_.erase(end); }

 private:
  Result<flowfs_pool_attach> join();
  // Errors: ENOTCONN not a member; ENOENT no such end of the caller's that is mapped; as
  // PoolLanes::join.
  Result<flowfs_pool_lane> join_end(const flowfs_pool_lane& wanted, uid_t uid);
  void populate(Request request, std::uint32_t wanted);
  void leave();

  PoolUse use_;
  PoolFiller& filler_;
  Ends& ends_;
  std::optional<pool::Holder> holder_;
  std::optional<std::uint64_t> lock_owner_;
  std::unordered_set<registry::FlowId> joined_ends_;
};

}  // namespace flowfs::fs
