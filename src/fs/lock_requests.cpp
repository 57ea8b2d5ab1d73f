// SPDX-License-Identifier: BSD-3-Clause
#include "fs/lock_requests.hpp"

#include <sys/file.h>

#include <utility>

namespace flowfs::fs {
namespace {

LockSpace space_of(const File& file, LockKind kind) { return {file.node().id(), kind}; }

LockRange range_of(const struct flock& wanted) {
  const auto first = static_cast<std::uint64_t>(wanted.l_start);
  const auto length = static_cast<std::uint64_t>(wanted.l_len);
  return {first, length == 0 ? kLastByte : first + length - 1};
}

LockClaim claim_of(const File& file, std::uint64_t owner, const struct flock& wanted) {
  return {.space = space_of(file, LockKind::posix),
          .file = &file,
          .owner = owner,
          .pid = wanted.l_pid,
          .mode = wanted.l_type == F_WRLCK ? LockMode::exclusive : LockMode::shared,
          .range = range_of(wanted)};
}

int to_errno(LockTable::Outcome outcome) {
  switch (outcome) {
    case LockTable::Outcome::granted:
      return 0;
    case LockTable::Outcome::conflict:
      return EAGAIN;
    case LockTable::Outcome::full:
      return ENOLCK;
    case LockTable::Outcome::dropped:
      break;
  }
  return ECONNABORTED;
}

}  // namespace

void LockRequests::flock(Request request, const File& file, std::uint64_t owner, int operation) {
  if (!file.has_locks()) {
    replies_.error(request, ENOLCK);
    return;
  }
  const int mode = operation & ~LOCK_NB;
  const LockClaim claim{
      .space = space_of(file, LockKind::flock),
      .file = &file,
      .owner = owner,
      .mode = mode == LOCK_EX ? LockMode::exclusive : LockMode::shared,
  };
  if (mode == LOCK_UN) {
    replies_.error(request, to_errno(table_.unlock(claim)));
    answer_ended();
  } else {
    take(request, claim, (operation & LOCK_NB) == 0);
  }
}

void LockRequests::set(Request request, const File& file, std::uint64_t owner,
                       const struct flock& wanted, bool may_wait) {
  if (!file.has_locks()) {
    replies_.error(request, ENOLCK);
    return;
  }
  const LockClaim claim = claim_of(file, owner, wanted);
  if (wanted.l_type == F_UNLCK) {
    replies_.error(request, to_errno(table_.unlock(claim)));
    answer_ended();
  } else {
    take(request, claim, may_wait);
  }
}

void LockRequests::get(Request request, const File& file, std::uint64_t owner,
                       const struct flock& wanted) {
  if (!file.has_locks()) {
    replies_.error(request, ENOLCK);
    return;
  }
  struct flock answer = wanted;
  answer.l_type = F_UNLCK;
  if (const auto held = table_.lock_against(claim_of(file, owner, wanted))) {
    const LockRange range = held->span.range;
    answer.l_type = held->span.mode == LockMode::exclusive ? F_WRLCK : F_RDLCK;
    answer.l_start = static_cast<off_t>(range.first);
    answer.l_len = range.last == kLastByte ? 0 : static_cast<off_t>(range.last - range.first + 1);
    answer.l_pid = held->pid;
  }
  fuse_reply_lock(request.raw, &answer);
}

void LockRequests::take(Request request, const LockClaim& claim, bool may_wait) {
  const LockTable::Outcome outcome = table_.lock(claim);
  if (outcome == LockTable::Outcome::conflict && may_wait) {
    wait(request, claim);
  } else {
    replies_.error(request, to_errno(outcome));
  }
  answer_ended();
}

void LockRequests::wait(Request request, const LockClaim& claim) {
  if (table_.would_deadlock(claim)) {
    replies_.error(request, EDEADLK);
    return;
  }
  const auto ticket = table_.wait(claim);
  if (!ticket) {
    replies_.error(request, ENOLCK);
    return;
  }
  const auto leave = [this, ticket = *ticket] {
    table_.cancel(ticket);
    waits_.erase(ticket);
  };
  Waits& line = *waits_.emplace(*ticket, std::make_unique<Waits>(parking_, leave)).first->second;
  // EINTR, which the kernel makes a restart, would reach a caller without a signal as 512.
  if (!parking_.park(line, {.request = request, .late_error = ENOLCK})) {
    leave();
  }
}

// Answers go out last, when the table is at rest.
void LockRequests::answer_ended() {
  for (const LockTable::Ended& ended : table_.take_ended()) {
    const auto node = waits_.extract(ended.ticket);
    replies_.error(node.mapped()->take_front().request, to_errno(ended.outcome));
  }
}

void LockRequests::flushed(const File& file, std::uint64_t owner) {
  table_.drop_owner(space_of(file, LockKind::posix), owner);
  answer_ended();
}

void LockRequests::released(const File& file) {
  table_.drop_file(file.node().id(), &file);
  answer_ended();
}

void LockRequests::abort_all(int error) {
  table_ = {};
  for (const auto& [ticket, line] : std::exchange(waits_, {})) {
    replies_.error(line->take_front().request, error);
  }
}

}  // namespace flowfs::fs
