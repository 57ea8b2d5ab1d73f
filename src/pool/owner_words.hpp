// SPDX-License-Identifier: BSD-3-Clause
// The table of a pool that all its members change: owner words, hint bytes, the bell
// (flowfs/wire.h). Orders of memory are named here and nowhere else.
//
// Threads: any, in any number of processes.
// Invariants:
//   1. Who owns a block is its owner word, which changes by compare-and-swap alone.
//   2. A hint is only a hint: wrong in either direction it costs time and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "flowfs/wire.h"
#include "pool/pool_geometry.hpp"
#include "pool/shared.hpp"

namespace flowfs::pool {

// Numbers that the daemon issues, out of one space of 24 bits; 0 is none.
enum class Holder : std::uint32_t {};
enum class LaneNumber : std::uint32_t {};

// A block at one moment of its life: it means nothing once the generation has moved on.
struct BlockRef {
  std::uint32_t block = 0;
  std::uint32_t generation = 0;
  auto operator<=>(const BlockRef&) const = default;
};

struct OwnerWord {
  std::uint64_t bits = 0;

  static constexpr OwnerWord make(std::uint64_t state, std::uint32_t number,
                                  std::uint32_t generation) {
    return {state | std::uint64_t{number} << 8 | std::uint64_t{generation} << 32};
  }
  static constexpr OwnerWord free_in(unsigned shard, std::uint32_t generation) {
    return make(FLOWFS_BLOCK_FREE, shard, generation);
  }
  static constexpr OwnerWord held_by(Holder holder, std::uint32_t generation) {
    return make(FLOWFS_BLOCK_HELD, std::to_underlying(holder), generation);
  }
  static constexpr OwnerWord in_flight_on(LaneNumber lane, std::uint32_t generation) {
    return make(FLOWFS_BLOCK_IN_FLIGHT, std::to_underlying(lane), generation);
  }
  [[nodiscard]] std::uint64_t state() const { return bits & 0xff; }
  [[nodiscard]] std::uint32_t number() const {  // a shard, a holder or a lane
    return static_cast<std::uint32_t>(bits >> 8) & FLOWFS_HOLDER_MOST;
  }
  [[nodiscard]] std::uint32_t generation() const { return static_cast<std::uint32_t>(bits >> 32); }
  [[nodiscard]] bool is_free() const { return state() == FLOWFS_BLOCK_FREE; }
  bool operator==(const OwnerWord&) const = default;
};

class OwnerWords {
 public:
  // `pool` is the whole pool and stays mapped.
  OwnerWords(const PoolGeometry& geometry, std::span<std::byte> pool);

  // For a first guess, which change() confirms: relaxed, a stale one only fails there.
  [[nodiscard]] OwnerWord guess(std::uint32_t block) const {
    return {shared(words_[block]).load(std::memory_order_relaxed)};
  }
  // seq_cst, the look before a sleep: pairs with change() to FREE (see ring()).
  [[nodiscard]] OwnerWord look(std::uint32_t block) const {
    return {shared(words_[block]).load(std::memory_order_seq_cst)};
  }
  // False: the word was another, and `from` is now what it was. seq_cst: releases the block's bytes
  // to the next owner's change (acquire), and precedes the look at the waiters in ring().
  bool change(std::uint32_t block, OwnerWord& from, OwnerWord to) {
    return shared(words_[block])
        .compare_exchange_strong(from.bits, to.bits, std::memory_order_seq_cst,
                                 std::memory_order_relaxed);
  }

  // Eight hints, of blocks 8 * index and on; the first in the lowest byte. relaxed: only hints.
  [[nodiscard]] std::uint64_t eight_hints(std::uint32_t index) const {
    return shared(hints_[index]).load(std::memory_order_relaxed);
  }
  // Makes the hint what the word says. relaxed: only a hint.
  void hint(std::uint32_t block, OwnerWord word) {
    const auto hint = shared(hint_of(block));
    const std::uint8_t right = hint_for(word);
    // Looked at first, so that a line which many read is written only when it changes.
    if (hint.load(std::memory_order_relaxed) != right) {
      hint.store(right, std::memory_order_relaxed);
    }
  }
  // A shard out of range (a member has scribbled) counts as the first.
  [[nodiscard]] std::uint8_t hint_for(OwnerWord word) const {
    if (!word.is_free()) {
      return FLOWFS_HINT_TAKEN;
    }
    return static_cast<std::uint8_t>(word.number() < shards_ ? word.number() + 1 : 1);
  }

  // After a block of the class has become free: one of those who wait for it is woken, the longest
  // asleep first.
  void ring(unsigned class_index) {
    if (is_wanted(class_index)) [[unlikely]] {
      ring_waiters(class_index);
    }
  }
  // After many have: everybody.
  void ring_all();
  // seq_cst, follows change(): whoever sets its bit later finds the block that was freed.
  [[nodiscard]] bool is_wanted(unsigned class_index) const {
    return (shared(header_->waiters).load(std::memory_order_seq_cst) >> class_index & 1U) != 0;
  }
  // Before looking at every word of a class with look(): returns the value of the bell to wait on.
  [[nodiscard]] std::uint32_t announce_waiter(unsigned class_index);
  // Sleeps until a ring since announce_waiter(), at most until the deadline.
  void wait(unsigned class_index, std::uint32_t bell, Instant deadline);

 private:
  void ring_waiters(unsigned class_index);
  [[nodiscard]] std::uint8_t& hint_of(std::uint32_t block) const {
    return reinterpret_cast<std::uint8_t*>(hints_.data())[block];
  }

  flowfs_pool* header_;
  std::span<std::uint64_t> words_;
  std::span<std::uint64_t> hints_;  // eight each
  unsigned shards_;
};

}  // namespace flowfs::pool
