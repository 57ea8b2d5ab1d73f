// SPDX-License-Identifier: BSD-3-Clause
// The blocks of a pool as one member sees them: allocate, free, hand over, take.
//
// Shape: docs/dataplane.md, "Pools". No lists: free blocks are found through hint bytes, eight at a
// time, from where this member freed or found one last; blocks of its own shard within a short way
// first, then any, and where no hint is left every owner word is read once and the hints repaired.
// Threads: any, at once. One Slab a process and mapping, since each poisons for its process.
// Errors: outcomes. Nothing says "corrupt": a word that was scribbled on is a block of nobody's,
// which the daemon frees.
// Invariants:
//   1. Every change of ownership is one compare-and-swap on the exact word expected.
//   2. The generation is one more after each FREE and each IN_FLIGHT, so that a reference which is
//      out of date fails there.
// Peer death: after any instruction exactly one holder, lane or shard is accountable for a block.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/clock.hpp"
#include "pool/owner_words.hpp"
#include "pool/poison.hpp"
#include "pool/pool_geometry.hpp"

namespace flowfs::pool {

class Slab {
 public:
  // The longest sleep without a look: what a ring that went to a dying waiter costs the next.
  static constexpr Micros kLongestWait{100'000};

  // `pool` is the whole pool, mapped read-write, and outlives the slab. `shard` is taken modulo
  // the number there are.
  Slab(const PoolGeometry& geometry, std::span<std::byte> pool, Holder self, unsigned shard);
  ~Slab();
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  // Nothing: every block of the class is taken.
  std::optional<BlockRef> try_allocate(unsigned class_index);
  // Waits for one. Nothing: not until the deadline.
  std::optional<BlockRef> allocate(unsigned class_index, Instant deadline);
  // False: the block is not this member's in that generation.
  [[nodiscard]] bool free(BlockRef ref);

  // The reference for the record; nothing: not this member's.
  [[nodiscard]] std::optional<BlockRef> hand_over(BlockRef ref, LaneNumber lane);
  // What a record named, on whatever lane. False: taken back, or freed by the daemon. `ref` may be
  // anything.
  [[nodiscard]] bool take(BlockRef ref);
  // False: the receiver was first.
  [[nodiscard]] bool take_back(BlockRef ref, LaneNumber lane);

  // The whole block; empty where there is no such block.
  [[nodiscard]] std::span<std::byte> bytes(BlockRef ref) const;

  // Whether the block is this member's in that generation. Only as true as the members are honest.
  [[nodiscard]] bool is_mine(BlockRef ref) const {
    return ref.block < geometry_.blocks() &&
           words_.guess(ref.block) == OwnerWord::held_by(self_, ref.generation);
  }
  // Whether somebody waits for a block of the class.
  [[nodiscard]] bool is_wanted(unsigned class_index) const { return words_.is_wanted(class_index); }
  [[nodiscard]] const PoolGeometry& geometry() const { return geometry_; }
  [[nodiscard]] Holder self() const { return self_; }
  // Under AddressSanitizer: this process must not touch the block's bytes now, or may again.
  void hide(BlockRef ref) const {
    if constexpr (kPoisons) {
      poison(bytes(ref));
    }
  }
  void show(BlockRef ref) const {
    if constexpr (kPoisons) {
      unpoison(bytes(ref));
    }
  }

 private:
  // Where the next look at the hints of a class begins, on a line of its own.
  struct alignas(64) Cursor {
    std::atomic<std::uint32_t> index{0};  // of eight hints
  };
  // What these find is packed (slab.cpp).
  std::uint64_t search_own_shard(unsigned class_index);
  std::uint64_t search_any_shard(unsigned class_index);
  std::uint64_t search_words(unsigned class_index);
  std::uint64_t take_hinted(unsigned class_index, std::uint32_t index, std::uint64_t candidates);
  std::uint64_t claim(std::uint32_t block, OwnerWord word);
  bool receive(BlockRef ref, OwnerWord in_flight);

  PoolGeometry geometry_;
  std::span<std::byte> pool_;
  OwnerWords words_;
  Holder self_;
  unsigned shard_;
  std::array<Cursor, FLOWFS_POOL_CLASSES_MOST> cursors_;
};

}  // namespace flowfs::pool
