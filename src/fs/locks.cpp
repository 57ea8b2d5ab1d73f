// SPDX-License-Identifier: BSD-3-Clause
#include "fs/locks.hpp"

#include <algorithm>
#include <utility>

#include "base/result.hpp"

namespace flowfs::fs {
namespace {

// Appends a span, or lengthens the last one where they touch and agree.
void append(std::vector<LockSpan>& spans, LockSpan span) {
  if (!spans.empty() && spans.back().mode == span.mode &&
      spans.back().range.last + 1 == span.range.first) {
    spans.back().range.last = span.range.last;
  } else {
    spans.push_back(span);
  }
}

}  // namespace

std::vector<LockSpan> with_span(const std::vector<LockSpan>& spans, LockRange range,
                                std::optional<LockMode> mode) {
  std::vector<LockSpan> result;
  result.reserve(spans.size() + 2);
  for (const LockSpan& span : spans) {
    if (span.range.first < range.first) {
      append(result, {{span.range.first, std::min(span.range.last, range.first - 1)}, span.mode});
    }
  }
  if (mode) {
    append(result, {range, *mode});
  }
  for (const LockSpan& span : spans) {
    if (span.range.last > range.last) {
      append(result, {{std::max(span.range.first, range.last + 1), span.range.last}, span.mode});
    }
  }
  return result;
}

const LockSpan* LockTable::span_against(const Owner& owner, const LockClaim& claim) {
  if (owner.id == claim.owner) {
    return nullptr;
  }
  const auto it = std::ranges::find_if(owner.spans, [&](const LockSpan& span) {
    return span.range.overlaps(claim.range) &&
           (span.mode == LockMode::exclusive || claim.mode == LockMode::exclusive);
  });
  return it == owner.spans.end() ? nullptr : &*it;
}

// Somebody in the way of a claim. Who is in the way of one is so for many: in front the next search
// finds it at once, so that waking a long line costs little.
const LockTable::Owner* LockTable::owner_against(Space& space, const LockClaim& claim) {
  const auto it = std::ranges::find_if(
      space.owners, [&](const Owner& owner) { return span_against(owner, claim) != nullptr; });
  if (it == space.owners.end()) {
    return nullptr;
  }
  std::swap(*it, space.owners.front());
  return &space.owners.front();
}

// Writes a claim that nothing stands against into its owner's ranges.
LockTable::Outcome LockTable::put(Space& space, const LockClaim& claim,
                                  std::optional<LockMode> mode) {
  auto owner = std::ranges::find(space.owners, claim.owner, &Owner::id);
  const bool known = owner != space.owners.end();
  if (!known && (!mode || space.owners.size() >= kMostOwners)) {
    return mode ? Outcome::full : Outcome::granted;
  }
  std::vector<LockSpan> spans =
      with_span(known ? owner->spans : std::vector<LockSpan>{}, claim.range, mode);
  if (!known || spans.size() > owner->spans.size()) {
    std::size_t of_file = spans.size();
    for (const Owner& other : space.owners) {
      of_file += other.file == claim.file && other.id != claim.owner ? other.spans.size() : 0;
    }
    if (of_file > kMostRanges) {
      return Outcome::full;
    }
  }
  if (spans.empty()) {
    space.owners.erase(owner);
  } else if (known) {
    *owner = {claim.owner, claim.file, claim.pid, std::move(spans)};
  } else {
    space.owners.push_back({claim.owner, claim.file, claim.pid, std::move(spans)});
  }
  return Outcome::granted;
}

template <typename Condition>
void LockTable::drop_owners_if(LockSpace key, Condition condition) {
  const auto it = spaces_.find(key);
  if (it == spaces_.end()) {
    return;
  }
  std::vector<std::uint64_t> dropped;
  std::erase_if(it->second.owners, [&](const Owner& owner) {
    const bool drop = condition(owner);
    if (drop) {
      dropped.push_back(owner.id);
    }
    return drop;
  });
  serve(key, std::move(dropped));
}

LockTable::Outcome LockTable::lock(const LockClaim& claim) {
  if (claim.space.kind == LockKind::flock) {
    drop_owners_if(claim.space, [&](const Owner& owner) {
      return owner.id == claim.owner && owner.spans.front().mode != claim.mode;
    });
  }
  Space& space = spaces_[claim.space];
  if (owner_against(space, claim) != nullptr) {
    return Outcome::conflict;
  }
  const Outcome outcome = put(space, claim, claim.mode);
  if (claim.mode == LockMode::shared) {
    serve(claim.space, {claim.owner});  // it may have had it alone
  }
  return outcome;
}

LockTable::Outcome LockTable::unlock(const LockClaim& claim) {
  const auto it = spaces_.find(claim.space);
  if (it == spaces_.end()) {
    return Outcome::granted;
  }
  const Outcome outcome = put(it->second, claim, std::nullopt);
  serve(claim.space, {claim.owner});
  return outcome;
}

std::optional<LockTable::Holding> LockTable::lock_against(const LockClaim& claim) const {
  const auto it = spaces_.find(claim.space);
  if (it == spaces_.end()) {
    return std::nullopt;
  }
  for (const Owner& owner : it->second.owners) {
    if (const LockSpan* span = span_against(owner, claim); span != nullptr) {
      return Holding{*span, owner.pid};
    }
  }
  return std::nullopt;
}

std::vector<std::uint64_t> LockTable::owners_against(const LockClaim& claim) const {
  std::vector<std::uint64_t> owners;
  if (const auto it = spaces_.find(claim.space); it != spaces_.end()) {
    for (const Owner& owner : it->second.owners) {
      if (span_against(owner, claim) != nullptr) {
        owners.push_back(owner.id);
      }
    }
  }
  return owners;
}

bool LockTable::would_deadlock(const LockClaim& claim) const {
  if (claim.space.kind != LockKind::posix) {
    return false;
  }
  std::vector<std::uint64_t> reached = owners_against(claim);
  for (std::size_t i = 0; i < reached.size() && i < kMostSearched; ++i) {
    const auto [begin, end] = waiting_of_.equal_range(reached[i]);
    for (auto it = begin; it != end; ++it) {
      for (const std::uint64_t next : owners_against(waiting_.at(it->second)->claim)) {
        if (next == claim.owner) {
          return true;
        }
        if (std::ranges::find(reached, next) == reached.end()) {
          reached.push_back(next);
        }
      }
    }
  }
  return false;
}

std::optional<LockTable::Ticket> LockTable::wait(const LockClaim& claim) {
  Space& space = spaces_.at(claim.space);
  const Owner* behind = owner_against(space, claim);
  FLOWFS_CHECK(behind != nullptr);
  if (space.line.size() >= kMostWaiting) {
    return std::nullopt;
  }
  const Ticket ticket{next_ticket_++};
  waiting_.emplace(ticket, space.line.insert(space.line.end(), {ticket, claim, behind->id}));
  if (claim.space.kind == LockKind::posix) {
    waiting_of_.emplace(claim.owner, ticket);
  }
  return ticket;
}

// Nobody waits for a claim that waits: its going frees nothing.
void LockTable::cancel(Ticket ticket) {
  const auto it = waiting_.find(ticket);
  if (it == waiting_.end()) {
    return;
  }
  const LockClaim& claim = it->second->claim;
  const auto [begin, end] = waiting_of_.equal_range(claim.owner);
  const auto own = std::find_if(begin, end, [&](const auto& one) { return one.second == ticket; });
  if (own != end) {
    waiting_of_.erase(own);
  }
  spaces_.at(claim.space).line.erase(it->second);
  waiting_.erase(it);
}

void LockTable::end(Ticket ticket, Outcome outcome) {
  cancel(ticket);
  ended_.push_back({ticket, outcome});
}

// Restores invariants 3 and 4 after these owners may have lost locks.
void LockTable::serve(LockSpace key, std::vector<std::uint64_t> changed) {
  Space& space = spaces_.at(key);
  bool again = true;
  while (again) {
    again = false;
    for (auto next = space.line.begin(); next != space.line.end();) {
      Waiting& waiting = *next++;
      if (std::ranges::find(changed, waiting.behind) == changed.end()) {
        continue;
      }
      if (const Owner* behind = owner_against(space, waiting.claim); behind != nullptr) {
        waiting.behind = behind->id;
        continue;
      }
      if (key.kind == LockKind::posix && waiting.claim.mode == LockMode::shared) {
        changed.push_back(waiting.claim.owner);  // it may have had it alone
        again = true;
      }
      end(waiting.ticket, put(space, waiting.claim, waiting.claim.mode));
    }
  }
  if (space.owners.empty()) {
    spaces_.erase(key);
  }
}

void LockTable::drop_owner(LockSpace space, std::uint64_t owner) {
  drop_owners_if(space, [&](const Owner& one) { return one.id == owner; });
}

void LockTable::drop_file(std::uint64_t node, const void* file) {
  for (const LockKind kind : {LockKind::flock, LockKind::posix}) {
    const LockSpace key{node, kind};
    if (const auto it = spaces_.find(key); it != spaces_.end()) {
      for (auto next = it->second.line.begin(); next != it->second.line.end();) {
        const Waiting& waiting = *next++;
        if (waiting.claim.file == file) {
          end(waiting.ticket, Outcome::dropped);
        }
      }
    }
    drop_owners_if(key, [&](const Owner& owner) { return owner.file == file; });
  }
}

std::size_t LockTable::range_count() const {
  std::size_t count = 0;
  for (const auto& [key, space] : spaces_) {
    for (const Owner& owner : space.owners) {
      count += owner.spans.size();
    }
  }
  return count;
}

}  // namespace flowfs::fs
