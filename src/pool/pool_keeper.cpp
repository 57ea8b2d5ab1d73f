// SPDX-License-Identifier: BSD-3-Clause
#include "pool/pool_keeper.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "pool/fault_guard.hpp"

namespace flowfs::pool {

namespace {

// A sixteenth of what 24 bits hold: the search for the next free number stays short.
constexpr std::size_t kMostNumbers = (FLOWFS_HOLDER_MOST + 1) / 16;

// A word that changes whenever it is looked at belongs to a member who plays; not now, then.
constexpr int kMostAttempts = 16;

}  // namespace

PoolKeeper::PoolKeeper(const PoolGeometry& geometry, std::span<std::byte> pool,
                       std::uint64_t serial, std::uint32_t first)
    : slab_(geometry, pool, Holder{kDaemon}, 0),
      pool_(pool),
      serial_(serial),
      words_(geometry, pool),
      next_(first) {
  FLOWFS_CHECK(first >= kFirst && first <= FLOWFS_HOLDER_MOST);
}

Result<std::uint32_t> PoolKeeper::issue(std::uint64_t state) {
  if (numbers_.size() >= kMostNumbers) {
    return fail(ENOSPC, "numbers of a pool");
  }
  while (numbers_.contains(next_)) {
    step();
  }
  const std::uint32_t number = next_;
  numbers_.emplace(number, Number{.state = state, .keep = {}});
  step();
  return number;
}

void PoolKeeper::step() { next_ = next_ == FLOWFS_HOLDER_MOST ? kFirst : next_ + 1; }

Result<Holder> PoolKeeper::issue_holder() {
  const auto number = issue(FLOWFS_BLOCK_HELD);
  if (!number) {
    return std::unexpected(number.error());
  }
  return Holder{*number};
}

Result<LaneNumber> PoolKeeper::issue_lane() {
  const auto number = issue(FLOWFS_BLOCK_IN_FLIGHT);
  if (!number) {
    return std::unexpected(number.error());
  }
  return LaneNumber{*number};
}

void PoolKeeper::retire(Holder holder, Instant now) {
  const auto found = numbers_.find(std::to_underlying(holder));
  if (found != numbers_.end() && found->second.state == FLOWFS_BLOCK_HELD &&
      found->second.stage == Number::Stage::live) {
    quarantine(found->second, now);
  }
}

void PoolKeeper::end_lane(LaneNumber lane, std::vector<BlockRef> keep, Instant now) {
  const auto found = numbers_.find(std::to_underlying(lane));
  if (found == numbers_.end() || found->second.state != FLOWFS_BLOCK_IN_FLIGHT) {
    return;
  }
  Number& number = found->second;
  std::ranges::sort(keep);
  // What was once given up stays so.
  if (number.stage != Number::Stage::live) {
    std::erase_if(keep,
                  [&](BlockRef ref) { return !std::ranges::binary_search(number.keep, ref); });
    if (keep == number.keep) {
      return;
    }
  }
  number.keep = std::move(keep);
  quarantine(number, now);
}

void PoolKeeper::quarantine(Number& number, Instant now) {
  number.stage = Number::Stage::quarantine;
  number.until = later(now, kQuarantine);
  due_ = std::min(due_, number.until);
}

std::uint32_t PoolKeeper::sweep(Instant now) {
  const FaultGuard guard(pool_);
  std::uint32_t freed = 0;
  bool settled = true;
  for (std::uint32_t block = 0; block < geometry().blocks(); ++block) {
    settled = settle(block, now, freed) && settled;
  }
  if (freed > 0) {
    words_.ring_all();
  }
  if (settled) {
    forget(now);
  }
  faulted_ = faulted_ || guard.faulted();
  return freed;
}

// Nothing names the numbers any more whose quarantine is over.
void PoolKeeper::forget(Instant now) {
  std::erase_if(numbers_, [now](const auto& entry) {
    return entry.second.until <= now && entry.second.keep.empty();
  });
  due_ = kNever;
  for (auto& [unused, number] : numbers_) {
    if (number.until <= now) {
      number.stage = Number::Stage::kept;
      number.until = kNever;
    }
    due_ = std::min(due_, number.until);
  }
}

// Frees the block if nobody is accountable for it. False: its word does not hold still.
bool PoolKeeper::settle(std::uint32_t block, Instant now, std::uint32_t& freed) {
  OwnerWord word = words_.guess(block);
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    if (!is_abandoned(block, word, now)) {
      words_.hint(block, word);
      return true;
    }
    const OwnerWord free_again = OwnerWord::free_in(0, word.generation() + 1);
    if (words_.change(block, word, free_again)) {
      words_.hint(block, free_again);
      ++freed;
      return true;
    }
  }
  return false;
}

bool PoolKeeper::is_abandoned(std::uint32_t block, OwnerWord word, Instant now) const {
  if (word.is_free()) {
    return false;
  }
  const auto found = numbers_.find(word.number());
  if (found == numbers_.end() || found->second.state != word.state()) {
    return true;
  }
  const Number& number = found->second;
  if (number.stage == Number::Stage::live ||
      (number.stage == Number::Stage::quarantine && now < number.until)) {
    return false;
  }
  const BlockRef ref{.block = block, .generation = word.generation()};
  return !std::ranges::binary_search(number.keep, ref);
}

PoolKeeper::Census PoolKeeper::census(unsigned class_index) {
  const FaultGuard guard(pool_);
  const PoolClass& its = geometry().classes()[class_index];
  Census count;
  for (std::uint32_t i = 0; i < its.blocks; ++i) {
    const std::uint64_t state = words_.guess(its.first_block + i).state();
    count.free += state == FLOWFS_BLOCK_FREE ? 1 : 0;
    count.in_flight += state == FLOWFS_BLOCK_IN_FLIGHT ? 1 : 0;
  }
  count.held = its.blocks - count.free - count.in_flight;
  faulted_ = faulted_ || guard.faulted();
  return count;
}

PoolKeeper::Taken PoolKeeper::take_for_file_end(const flowfs_block& descriptor,
                                                std::span<std::byte> copy) {
  if (descriptor.pool != serial_ || !geometry().contains(descriptor) ||
      copy.size() != descriptor.length) {
    return Taken::corrupt;
  }
  const FaultGuard guard(pool_);
  const BlockRef ref{.block = descriptor.block, .generation = descriptor.generation};
  const bool taken = slab_.take(ref);
  if (taken) {
    std::memcpy(copy.data(), slab_.bytes(ref).data() + descriptor.offset, copy.size());
    // False: a member has scribbled on the word; the next sweep frees what is left of it.
    static_cast<void>(slab_.free(ref));
  }
  faulted_ = faulted_ || guard.faulted();
  return taken ? Taken::ok : Taken::gone;
}

}  // namespace flowfs::pool
