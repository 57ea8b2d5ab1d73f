// SPDX-License-Identifier: BSD-3-Clause
// The daemon's side of a pool: which numbers exist, and what their owners left behind.
//
// The truth about geometry, holders and lanes is private; the owner words are input. A member that
// is gone leaves blocks HELD by its number or IN_FLIGHT on its lanes; after a quarantine, in which
// its last stores land, the sweep frees them, each by compare-and-swap on the exact word seen, with
// a new generation. Sweeping twice changes nothing; a word that makes no sense is a block of
// nobody's and is freed too.
//
// Threads: one, the loop's. Members change words meanwhile.
// Time: the caller passes `now`, and calls sweep() when due() has come.
// Errors: numbers run out (ENOSPC). Touching the pool may fault where a member punched a hole and
// memory is accounted strictly: the fault is repaired, and faulted() says from then on that the
// pool must be given up.
// Invariants:
//   1. A number is issued to one at a time, and again only when no word can name it: not while it
//      lives, is in quarantine, or is a lane of which blocks are kept.
//   2. A block HELD by a live holder, or IN_FLIGHT on a live lane, is never freed here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "base/result.hpp"
#include "pool/owner_words.hpp"
#include "pool/slab.hpp"

namespace flowfs::pool {

class PoolKeeper {
 public:
  static constexpr Micros kQuarantine{1'000'000};

  // The daemon's own number as a member, and so the first that is issued.
  static constexpr std::uint32_t kDaemon = 1;
  static constexpr std::uint32_t kFirst = kDaemon + 1;

  // `pool` stays mapped. Numbers are issued upwards from `first`, round to kFirst.
  PoolKeeper(const PoolGeometry& geometry, std::span<std::byte> pool, std::uint64_t serial,
             std::uint32_t first = kFirst);

  Result<Holder> issue_holder();
  // Its owner is gone: what it holds is freed after the quarantine. Idempotent.
  void retire(Holder holder, Instant now);

  Result<LaneNumber> issue_lane();
  // Nothing more will be sent on it. `keep`: what the records name that somebody will still read;
  // the rest of what is in flight is freed after the quarantine. Called again, without `keep`, when
  // the reader is gone or has read them. Idempotent.
  void end_lane(LaneNumber lane, std::vector<BlockRef> keep, Instant now);

  // When a sweep has something to do; kNever: nothing is left behind.
  [[nodiscard]] Instant due() const { return due_; }
  // Frees what nobody is accountable for, repairs hints and wakes those who wait for blocks.
  // Returns how many blocks it freed. Also when a pool reports that it is exhausted.
  std::uint32_t sweep(Instant now);

  struct Census {
    std::uint32_t free = 0;
    std::uint32_t held = 0;
    std::uint32_t in_flight = 0;
  };
  // As the words say: members can lie about it.
  [[nodiscard]] Census census(unsigned class_index);

  enum class [[nodiscard]] Taken {
    ok,
    gone,     // taken back by its sender, or freed
    corrupt,  // names nothing of this pool
  };
  // For an end in file mode: takes the block in flight that a record names, copies it out
  // (`copy` is as long as the message) and frees it.
  Taken take_for_file_end(const flowfs_block& descriptor, std::span<std::byte> copy);

  [[nodiscard]] bool faulted() const { return faulted_; }
  [[nodiscard]] const PoolGeometry& geometry() const { return slab_.geometry(); }
  [[nodiscard]] std::uint64_t serial() const { return serial_; }
  // Numbers alive, in quarantine or kept; the daemon's own is not counted.
  [[nodiscard]] std::size_t numbers() const { return numbers_.size(); }

 private:
  // What a number is, and how far its end has come.
  struct Number {
    std::uint64_t state;  // of the words that may name it: FLOWFS_BLOCK_HELD or _IN_FLIGHT
    enum class Stage : std::uint8_t { live, quarantine, kept } stage = Stage::live;
    Instant until = kNever;      // of the quarantine
    std::vector<BlockRef> keep;  // sorted
  };
  Result<std::uint32_t> issue(std::uint64_t state);
  void step();
  void quarantine(Number& number, Instant now);
  [[nodiscard]] bool is_abandoned(std::uint32_t block, OwnerWord word, Instant now) const;
  bool settle(std::uint32_t block, Instant now, std::uint32_t& freed);
  void forget(Instant now);

  Slab slab_;  // the daemon as a member
  std::span<std::byte> pool_;
  std::uint64_t serial_;
  OwnerWords words_;
  std::unordered_map<std::uint32_t, Number> numbers_;
  Instant due_ = kNever;  // the first `until`
  std::uint32_t next_;
  bool faulted_ = false;
};

}  // namespace flowfs::pool
