// SPDX-License-Identifier: BSD-3-Clause
// The two directions of a flow as pools know them: a number for the blocks in flight on each.
//
// Life of a lane, by what its sender and its receiver do:
//
//   joined   the sender is mapped and a member of the pool
//   ended    it is not any more; blocks that unread records name are kept for the receiver
//   gone     nobody will read what is unread: the pool frees what is in flight
//
// Threads: the loop's.
// Invariants:
//   1. A lane is joined as long as its end is mapped and the pool file it joined through is open.
//   2. A pool lives as long as it has lanes.
#pragma once

#include <array>
#include <optional>

#include "flow/channel.hpp"
#include "fs/pools.hpp"
#include "registry/types.hpp"

namespace flowfs::fs {

class PoolFile;

// Through what an end joins a pool.
struct PoolMember {
  PoolUse use;
  PoolFile* file = nullptr;
  registry::FlowId end = registry::kNoFlow;
};

class PoolLanes final : public flow::BlockSource {
 public:
  explicit PoolLanes(flow::Channel& channel) : channel_(channel) {}
  ~PoolLanes() override;
  PoolLanes(const PoolLanes&) = delete;
  PoolLanes& operator=(const PoolLanes&) = delete;

  // A mapped end joins. Errors: EBUSY it has joined a pool already; EAGAIN blocks that it sent
  // before are still unread; ENOSPC no number is left.
  Result<pool::LaneNumber> join(flow::Side side, PoolMember member);
  // The end is not mapped any more, has closed, or its pool file has: what it leaves is settled.
  void leave(flow::Side side);
  // After whatever may have ended a reader.
  void settle();

  bool take(flow::Side from, const flowfs_block& block, std::span<std::byte> copy) override;

 private:
  struct Lane {
    PoolMember member;  // file: null once it has left
    pool::LaneNumber number{};
    bool given_back = false;
  };
  void settle(flow::Side side);
  static void end(Lane& lane, std::vector<pool::BlockRef> keep);
  [[nodiscard]] std::optional<Lane>& lane(flow::Side side) {
    return lanes_[static_cast<std::size_t>(side)];
  }

  flow::Channel& channel_;
  std::array<std::optional<Lane>, 2> lanes_;  // by the Side that sends
};

}  // namespace flowfs::fs
