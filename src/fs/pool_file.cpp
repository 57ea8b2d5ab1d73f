// SPDX-License-Identifier: BSD-3-Clause
#include "fs/pool_file.hpp"

#include <fcntl.h>

#include <cstring>
#include <utility>

namespace flowfs::fs {
namespace {

template <typename T>
T argument(std::span<const std::byte> in) {
  T value{};
  std::memcpy(&value, in.data(), sizeof value);
  return value;
}

template <typename T>
void reply_value(Replies& replies, Request request, const Result<T>& answer) {
  if (answer) {
    fuse_reply_ioctl(request.raw, 0, &*answer, sizeof(T));
  } else {
    replies.error(request, answer.error().error);
  }
}

}  // namespace

void PoolFile::ioctl(Request request, unsigned command, std::span<const std::byte> in,
                     std::size_t out_size) {
  const bool known = (command == FLOWFS_IOC_POOL && out_size >= sizeof(flowfs_pool_attach)) ||
                     (command == FLOWFS_IOC_POOL_LANE && in.size() >= sizeof(flowfs_pool_lane) &&
                      out_size >= sizeof(flowfs_pool_lane)) ||
                     (command == FLOWFS_IOC_POOL_CLASS && in.size() >= sizeof(std::uint32_t));
  if (!known) {
    replies_.error(request, ENOTTY);
  } else if ((flags() & O_ACCMODE) != O_RDWR) {
    replies_.error(request, EBADF);
  } else if (command == FLOWFS_IOC_POOL) {
    reply_value(replies_, request, join());
  } else if (command == FLOWFS_IOC_POOL_LANE) {
    reply_value(replies_, request, join_end(argument<flowfs_pool_lane>(in), request.uid()));
  } else {
    populate(request, argument<std::uint32_t>(in));
  }
}

Result<flowfs_pool_attach> PoolFile::join() {
  if (holder_) {
    return fail(EBUSY, "joining a pool");
  }
  const auto holder = use_.keeper().issue_holder();
  if (!holder) {
    return std::unexpected(holder.error());
  }
  holder_ = *holder;
  lock_owner_.reset();
  flowfs_pool_attach answer = use_->store->memory.describe();
  answer.holder = std::to_underlying(*holder);
  return answer;
}

Result<flowfs_pool_lane> PoolFile::join_end(const flowfs_pool_lane& wanted, uid_t uid) {
  if (!holder_) {
    return fail(ENOTCONN, "joining a pool");
  }
  const registry::FlowId id{wanted.flow};
  End* end = ends_.find(id);
  if (end == nullptr || end->opener.uid != uid || !end->flow ||
      !end->flow->channel.is_mapped(end->side)) {
    return fail(ENOENT, "joining a pool");
  }
  const auto lane = end->flow->pool_lanes.join(
      end->side, {.use = PoolUse(use_.pools(), *use_), .file = this, .end = id});
  if (!lane) {
    return std::unexpected(lane.error());
  }
  joined_ends_.insert(id);
  return flowfs_pool_lane{.flow = wanted.flow, .lane = std::to_underlying(*lane), .reserved = 0};
}

void PoolFile::populate(Request request, std::uint32_t wanted) {
  const std::uint32_t class_index = wanted & ~FLOWFS_POOL_EXHAUSTED;
  if (!holder_) {
    replies_.error(request, ENOTCONN);
    return;
  }
  // Of a class that is not there nothing can be left behind.
  if (wanted != class_index && use_->store->classes.contains(class_index)) {
    use_.pools().exhausted(*use_);
  }
  filler_.fill(request, *use_, class_index);
}

void PoolFile::flush(Request request, std::uint64_t lock_owner) {
  if (holder_ && !lock_owner_) {
    lock_owner_ = lock_owner;
  } else if (holder_ && *lock_owner_ == lock_owner) {
    leave();
  }
  replies_.error(request, 0);
}

void PoolFile::leave() {
  const auto ends = std::exchange(joined_ends_, {});
  for (const registry::FlowId id : ends) {
    if (End* end = ends_.find(id); end != nullptr && end->flow) {
      end->flow->pool_lanes.leave(end->side);
    }
  }
  if (const auto holder = std::exchange(holder_, std::nullopt)) {
    use_.keeper().retire(*holder, Clock::now());
    use_.pools().tidy(*use_);
  }
}

}  // namespace flowfs::fs
