// SPDX-License-Identifier: BSD-3-Clause
#include "fs/throttle.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "fs/fuse_api.hpp"
#include "registry/types.hpp"

namespace flowfs::fs {
namespace {

constexpr std::size_t kMostAccounts = 4096;

bool always_passes(const fuse_in_header& header) {
  switch (header.opcode) {
    case FUSE_INIT:
    case FUSE_DESTROY:
    case FUSE_INTERRUPT:
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_LOOKUP:
    case FUSE_GETATTR:
    case FUSE_ACCESS:
    case FUSE_READLINK:
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR:
    case FUSE_STATFS:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
    case FUSE_POLL:
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
      return true;
    default:
      return header.uid == 0;
  }
}

}  // namespace

Throttle::Throttle(Loop& loop, registry::Users& users, std::uint64_t rate, Micros longest,
                   Deliver deliver, Refuse refuse)
    : users_(users),
      rate_(rate),
      longest_(longest),
      deliver_(std::move(deliver)),
      refuse_(std::move(refuse)),
      timer_(loop.timer([this] { serve(); })) {}

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
  hold(header.uid, account, request);
}

void Throttle::hold(uid_t uid, Account& account, std::span<const std::byte> request) {
  auto place = users_.charge(uid, registry::Resource::held, 1);
  auto bytes = users_.charge(uid, registry::Resource::bytes, request.size());
  if (!place || !bytes) {
    refuse_(request, (!place ? place : bytes).error().error);
    return;
  }
  account.held.push_back({.request = {request.begin(), request.end()},
                          .latest = later(Clock::now(), longest_),
                          .place = std::move(*place),
                          .bytes = std::move(*bytes)});
  ++holding_;
  ++held_back_;
  if (timer_.deadline() > next_turn(account)) {
    timer_.arm(next_turn(account));
  }
}

Instant Throttle::next_turn(const Account& account) const {
  return std::min(account.bucket.next(static_cast<double>(rate_)), account.held.front().latest);
}

// libfuse must see the interrupt before the request, so that the request is answered EINTR when it
// would wait.
void Throttle::interrupt(std::span<std::byte> request, std::uint64_t unique) {
  deliver_(request);
  for (auto& [uid, account] : accounts_) {
    const auto it = std::ranges::find_if(
        account.held, [&](const Held& held) { return header_of(held.request).unique == unique; });
    if (it != account.held.end()) {
      Held taken = std::move(*it);
      account.held.erase(it);
      --holding_;
      deliver_(taken.request);
      return;
    }
  }
}

void Throttle::serve() {
  const Instant now = Clock::now();
  const auto rate = static_cast<double>(rate_);
  Instant next = kNever;
  for (auto& [uid, account] : accounts_) {
    while (!account.held.empty() &&
           (account.held.front().latest <= now || account.bucket.take(rate, now))) {
      Held taken = std::move(account.held.front());
      account.held.pop_front();
      --holding_;
      deliver_(taken.request);
    }
    if (!account.held.empty()) {
      next = std::min(next, next_turn(account));
    }
  }
  timer_.arm(next);
}

}  // namespace flowfs::fs
