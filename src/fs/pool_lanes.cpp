// SPDX-License-Identifier: BSD-3-Clause
#include "fs/pool_lanes.hpp"

#include <utility>

#include "fs/pool_file.hpp"

namespace flowfs::fs {

PoolLanes::~PoolLanes() {
  for (auto& lane : lanes_) {
    if (lane) {
      end(*lane, {});
    }
  }
}

Result<pool::LaneNumber> PoolLanes::join(flow::Side side, PoolMember member) {
  std::optional<Lane>& lane = this->lane(side);
  settle(side);
  if (lane) {
    return fail(lane->member.file != nullptr ? EBUSY : EAGAIN, "joining a pool");
  }
  const auto number = member.use.keeper().issue_lane();
  if (!number) {
    return std::unexpected(number.error());
  }
  lane.emplace(Lane{.member = std::move(member), .number = *number});
  channel_.set_pool(side, std::to_underlying(lane->member.use->serial));
  return *number;
}

void PoolLanes::leave(flow::Side side) {
  channel_.set_pool(side, 0);
  if (auto& lane = this->lane(side); lane) {
    if (PoolFile* file = std::exchange(lane->member.file, nullptr); file != nullptr) {
      file->forget(lane->member.end);
    }
  }
  settle();
}

void PoolLanes::settle() {
  settle(flow::Side::client);
  settle(flow::Side::server);
}

void PoolLanes::settle(flow::Side side) {
  std::optional<Lane>& lane = this->lane(side);
  if (!lane) {
    return;
  }
  const bool joined = lane->member.file != nullptr;
  if (joined && channel_.is_heard(side)) {
    return;
  }
  std::vector<pool::BlockRef> keep;
  for (const flowfs_block& block : channel_.unread_blocks(side)) {
    if (block.pool == std::to_underlying(lane->member.use->serial)) {
      keep.push_back({.block = block.block, .generation = block.generation});
    }
  }
  const bool nothing = keep.empty();
  end(*lane, std::move(keep));
  if (nothing && !joined) {
    lane.reset();
  }
}

// Once nothing is kept the number may be another's at any time.
void PoolLanes::end(Lane& lane, std::vector<pool::BlockRef> keep) {
  if (lane.given_back) {
    return;
  }
  lane.given_back = keep.empty();
  lane.member.use.keeper().end_lane(lane.number, std::move(keep), Clock::now());
  lane.member.use.pools().tidy(*lane.member.use);
}

bool PoolLanes::take(flow::Side from, const flowfs_block& block, std::span<std::byte> copy) {
  const std::optional<Lane>& lane = this->lane(from);
  if (!lane || lane->member.use->given_up ||
      block.pool != std::to_underlying(lane->member.use->serial)) {
    return false;
  }
  pool::PoolKeeper& keeper = lane->member.use.keeper();
  const auto taken = keeper.take_for_file_end(block, copy);
  if (keeper.faulted()) {
    lane->member.use.pools().tidy(*lane->member.use);
  }
  return taken == pool::PoolKeeper::Taken::ok;
}

}  // namespace flowfs::fs
