// SPDX-License-Identifier: BSD-3-Clause
#include "pool/slab.hpp"

#include <algorithm>
#include <bit>

namespace flowfs::pool {

namespace {

constexpr std::uint64_t kLowBits = 0x0101010101010101;
constexpr std::uint64_t kHighBits = kLowBits << 7;

// How far, in eights, a block of the own shard is preferred to a nearer one of another. Shards keep
// members apart; looking further for that costs more than meeting does.
constexpr std::uint32_t kOwnShardReach = 16;

// While it is searched for, a block is a BlockRef in one register: an optional of two numbers goes
// through memory at each return, in pieces that the next load must wait for (a quarter of the
// whole).
constexpr std::uint64_t kNone = ~std::uint64_t{0};

std::optional<BlockRef> unpack(std::uint64_t found) {
  if (found == kNone) {
    return std::nullopt;
  }
  return BlockRef{.block = static_cast<std::uint32_t>(found),
                  .generation = static_cast<std::uint32_t>(found >> 32)};
}

// The high bit of each byte that is not 0.
constexpr std::uint64_t nonzero_bytes(std::uint64_t eight) {
  return (((eight & ~kHighBits) + ~kHighBits) | eight) & kHighBits;
}

constexpr std::uint64_t equal_bytes(std::uint64_t eight, std::uint8_t value) {
  return ~nonzero_bytes(eight ^ kLowBits * value) & kHighBits;
}

static_assert(nonzero_bytes(0x00800001ff00007f) == 0x0080008080000080);
static_assert(equal_bytes(0x0205000205020202, 2) == 0x8000008000808080);

// Eights of hints that a class has a part in: the first and the last may be shared.
constexpr std::uint32_t first_eight(const PoolClass& its) { return its.first_block / 8; }
constexpr std::uint32_t last_eight(const PoolClass& its) {
  return (its.first_block + its.blocks - 1) / 8;
}

// Runs `look` on every eight of the class, from `start` round to it, at most `most` of them, until
// it finds a block.
template <typename F>
std::uint64_t search(const PoolClass& its, std::uint32_t start, std::uint32_t most, F look) {
  const std::uint32_t first = first_eight(its);
  const std::uint32_t last = last_eight(its);
  std::uint32_t index = std::clamp(start, first, last);
  for (std::uint32_t looks = std::min(most, last - first + 1); looks > 0; --looks) {
    if (const std::uint64_t found = look(index); found != kNone) {
      return found;
    }
    index = index == last ? first : index + 1;
  }
  return kNone;
}

}  // namespace

Slab::Slab(const PoolGeometry& geometry, std::span<std::byte> pool, Holder self, unsigned shard)
    : geometry_(geometry),
      pool_(pool),
      words_(geometry, pool),
      self_(self),
      shard_(shard % geometry.shards()) {
  for (std::size_t i = 0; i < geometry_.classes().size(); ++i) {
    // Members of different shards begin far apart.
    const PoolClass& its = geometry_.classes()[i];
    const std::uint32_t eights = last_eight(its) - first_eight(its) + 1;
    // relaxed: nobody else knows it yet.
    cursors_[i].index.store(first_eight(its) + eights / geometry_.shards() * shard_,
                            std::memory_order_relaxed);
  }
  for (std::uint32_t block = 0; kPoisons && block < geometry_.blocks(); ++block) {
    if (words_.guess(block).is_free()) {
      hide({.block = block});
    }
  }
}

Slab::~Slab() {
  // The addresses may be somebody else's next.
  unpoison(pool_);
}

std::optional<BlockRef> Slab::try_allocate(unsigned class_index) {
  FLOWFS_CHECK(class_index < geometry_.classes().size());
  std::uint64_t found = search_own_shard(class_index);
  if (found == kNone) {
    found = search_any_shard(class_index);
  }
  return unpack(found == kNone ? search_words(class_index) : found);
}

std::optional<BlockRef> Slab::allocate(unsigned class_index, Instant deadline) {
  while (true) {
    if (const auto found = try_allocate(class_index)) {
      return found;
    }
    const Instant now = Clock::now();
    if (now >= deadline) {
      return std::nullopt;
    }
    const std::uint32_t bell = words_.announce_waiter(class_index);
    if (const auto found = unpack(search_words(class_index))) {
      return found;
    }
    words_.wait(class_index, bell, std::min(deadline, now + kLongestWait));
  }
}

bool Slab::free(BlockRef ref) {
  if (!is_mine(ref)) {
    return false;
  }
  hide(ref);
  OwnerWord mine = OwnerWord::held_by(self_, ref.generation);
  const OwnerWord free_here = OwnerWord::free_in(shard_, ref.generation + 1);
  if (!words_.change(ref.block, mine, free_here)) {
    return false;
  }
  words_.hint(ref.block, free_here);
  const unsigned class_index = *geometry_.class_of(ref.block);
  // relaxed: where to look first, and its bytes are still in the cache.
  cursors_[class_index].index.store(ref.block / 8, std::memory_order_relaxed);
  words_.ring(class_index);
  return true;
}

std::optional<BlockRef> Slab::hand_over(BlockRef ref, LaneNumber lane) {
  if (!is_mine(ref)) {
    return std::nullopt;
  }
  hide(ref);
  OwnerWord mine = OwnerWord::held_by(self_, ref.generation);
  const BlockRef sent{.block = ref.block, .generation = ref.generation + 1};
  if (!words_.change(ref.block, mine, OwnerWord::in_flight_on(lane, sent.generation))) {
    return std::nullopt;
  }
  return sent;
}

bool Slab::take(BlockRef ref) {
  if (ref.block >= geometry_.blocks()) {
    return false;
  }
  const OwnerWord word = words_.guess(ref.block);
  return word.state() == FLOWFS_BLOCK_IN_FLIGHT && word.generation() == ref.generation &&
         receive(ref, word);
}

bool Slab::take_back(BlockRef ref, LaneNumber lane) {
  return ref.block < geometry_.blocks() &&
         receive(ref, OwnerWord::in_flight_on(lane, ref.generation));
}

bool Slab::receive(BlockRef ref, OwnerWord in_flight) {
  if (!words_.change(ref.block, in_flight, OwnerWord::held_by(self_, ref.generation))) {
    return false;
  }
  show(ref);
  return true;
}

std::span<std::byte> Slab::bytes(BlockRef ref) const {
  const auto class_index = geometry_.class_of(ref.block);
  if (!class_index) {
    return {};
  }
  return pool_.subspan(geometry_.offset_of(ref.block, *class_index),
                       geometry_.classes()[*class_index].block_bytes);
}

std::uint64_t Slab::search_own_shard(unsigned class_index) {
  const PoolClass& its = geometry_.classes()[class_index];
  const auto own = static_cast<std::uint8_t>(shard_ + 1);
  // relaxed: a place to begin, of whichever thread was here last.
  const std::uint32_t start = cursors_[class_index].index.load(std::memory_order_relaxed);
  return search(its, start, kOwnShardReach, [&](std::uint32_t index) {
    return take_hinted(class_index, index, equal_bytes(words_.eight_hints(index), own));
  });
}

std::uint64_t Slab::search_any_shard(unsigned class_index) {
  const PoolClass& its = geometry_.classes()[class_index];
  const std::uint32_t start = cursors_[class_index].index.load(std::memory_order_relaxed);
  return search(its, start, UINT32_MAX, [&](std::uint32_t index) {
    return take_hinted(class_index, index, nonzero_bytes(words_.eight_hints(index)));
  });
}

// `candidates` has the high bit of each byte set whose hint is right.
std::uint64_t Slab::take_hinted(unsigned class_index, std::uint32_t index,
                                std::uint64_t candidates) {
  const PoolClass& its = geometry_.classes()[class_index];
  for (; candidates != 0; candidates &= candidates - 1) {
    const std::uint32_t block =
        index * 8 + static_cast<std::uint32_t>(std::countr_zero(candidates)) / 8;
    if (block - its.first_block >= its.blocks) {
      continue;  // of the class before or behind
    }
    if (const std::uint64_t taken = claim(block, words_.guess(block)); taken != kNone) {
      // relaxed: only where to begin.
      cursors_[class_index].index.store(index, std::memory_order_relaxed);
      return taken;
    }
  }
  return kNone;
}

// The last resort, before "every block is taken" may be said.
std::uint64_t Slab::search_words(unsigned class_index) {
  const PoolClass& its = geometry_.classes()[class_index];
  for (std::uint32_t i = 0; i < its.blocks; ++i) {
    const std::uint32_t block = its.first_block + i;
    if (const std::uint64_t taken = claim(block, words_.look(block)); taken != kNone) {
      return taken;
    }
  }
  return kNone;
}

// Makes the block this member's if it is free, and its hint what it should be either way.
std::uint64_t Slab::claim(std::uint32_t block, OwnerWord word) {
  const OwnerWord mine = OwnerWord::held_by(self_, word.generation());
  if (!word.is_free() || !words_.change(block, word, mine)) {
    words_.hint(block, word);
    return kNone;
  }
  words_.hint(block, mine);
  show({.block = block});
  return block | std::uint64_t{word.generation()} << 32;
}

}  // namespace flowfs::pool
