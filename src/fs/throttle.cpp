// SPDX-License-Identifier: BSD-3-Clause
#include "fs/throttle.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "fs/fuse_api.hpp"
#include "registry/types.hpp"

namespace flowfs::fs {
namespace {

constexpr double kBurstSeconds = 0.1;
constexpr std::size_t kMostAccounts = 4096;

fuse_in_header header_of(std::span<const std::byte> request) {
  fuse_in_header header{};
  std::memcpy(&header, request.data(), std::min(sizeof header, request.size()));
  return header;
}

bool always_passes(const fuse_in_header& header) {
  switch (header.opcode) {
    case FUSE_OPEN:
    case FUSE_READ:
    case FUSE_WRITE:
    case FUSE_CREATE:
    case FUSE_MKDIR:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_SYMLINK:
    case FUSE_UNLINK:
    case FUSE_SETATTR:
    case FUSE_SETXATTR:
    case FUSE_IOCTL:
      return header.uid == 0;
    default:
      return true;
  }
}

double seconds(Instant::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

bool TokenBucket::take(double rate, Instant now) {
  const double most = std::max(1.0, rate * kBurstSeconds);
  tokens_ = std::min(most, tokens_ + rate * seconds(now - filled_));
  filled_ = now;
  if (tokens_ < 1) {
    return false;
  }
  tokens_ -= 1;
  return true;
}

Instant TokenBucket::next(double rate) const {
  const double wait_us = std::max(0.0, (1 - tokens_) / rate * 1e6);
  return later(filled_, Micros(static_cast<std::int64_t>(wait_us) + 1));
}

Throttle::Throttle(Loop& loop, std::uint64_t rate, Deliver deliver)
    : rate_(rate), deliver_(std::move(deliver)), timer_(loop.timer([this] { serve(); })) {}

void Throttle::admit(std::span<std::byte> request) {
  const fuse_in_header header = header_of(request);
  if (header.opcode == FUSE_INTERRUPT && holding_ != 0) {
    fuse_interrupt_in argument{};
    std::memcpy(&argument, request.data() + sizeof header,
                std::min(sizeof argument, request.size() - sizeof header));
    interrupt(request, argument.unique);
    return;
  }
  if (rate_ == registry::kUnlimited || always_passes(header)) {
    deliver_(request);
    return;
  }
  if (holding_ == 0 && accounts_.size() > kMostAccounts) {
    accounts_.clear();  // full buckets are no loss
  }
  Account& account = accounts_[header.uid];
  const auto rate = static_cast<double>(rate_);
  if (account.held.empty() && account.bucket.take(rate, Clock::now())) {
    deliver_(request);
    return;
  }
  account.held.emplace_back(request.begin(), request.end());
  ++holding_;
  ++held_back_;
  if (timer_.deadline() > account.bucket.next(rate)) {
    timer_.arm(account.bucket.next(rate));
  }
}

// libfuse must see the interrupt before the request, so that the request is answered EINTR when it
// would wait.
void Throttle::interrupt(std::span<std::byte> request, std::uint64_t unique) {
  deliver_(request);
  for (auto& [uid, account] : accounts_) {
    const auto it = std::ranges::find_if(
        account.held, [&](const auto& held) { return header_of(held).unique == unique; });
    if (it != account.held.end()) {
      std::vector<std::byte> taken = std::move(*it);
      account.held.erase(it);
      --holding_;
      deliver_(taken);
      return;
    }
  }
}

void Throttle::serve() {
  const Instant now = Clock::now();
  const auto rate = static_cast<double>(rate_);
  Instant next = kNever;
  for (auto& [uid, account] : accounts_) {
    while (!account.held.empty() && account.bucket.take(rate, now)) {
      std::vector<std::byte> taken = std::move(account.held.front());
      account.held.pop_front();
      --holding_;
      deliver_(taken);
    }
    if (!account.held.empty()) {
      next = std::min(next, account.bucket.next(rate));
    }
  }
  timer_.arm(next);
}

}  // namespace flowfs::fs
