// SPDX-License-Identifier: BSD-3-Clause
#include "pool/owner_words.hpp"

namespace flowfs::pool {

OwnerWords::OwnerWords(const PoolGeometry& geometry, std::span<std::byte> pool)
    : header_(reinterpret_cast<flowfs_pool*>(pool.data())), shards_(geometry.shards()) {
  FLOWFS_CHECK(pool.size() >= geometry.pool_bytes());
  words_ = {reinterpret_cast<std::uint64_t*>(pool.data() + geometry.words_offset()),
            geometry.blocks()};
  hints_ = {reinterpret_cast<std::uint64_t*>(pool.data() + geometry.hints_offset()),
            (geometry.blocks() + 7) / 8};
}

// A waiter takes the bell's value, sets its bit and looks at every word; whoever frees changes the
// word and then looks at the bits. Both seq_cst, so at least one sees the other.
//
// The bit stays set while anybody sleeps, so the next free rings for the next sleeper. Where
// nobody sleeps it is cleared, and then the bell is rung for those who set it before that and are
// about to sleep: whoever took the bell's value before finds it changed, and whoever takes it after
// sets the bit after the clearing, and is seen by the next free.
void OwnerWords::ring_waiters(unsigned class_index) {
  const std::uint32_t mask = 1U << class_index;
  if (futex_wake(futex_word(header_->bell), 1, mask) == 0) {
    // seq_cst, both, pair with announce_waiter: in the order said above.
    shared(header_->waiters).fetch_and(~mask, std::memory_order_seq_cst);
    shared(header_->bell).fetch_add(1, std::memory_order_seq_cst);
    futex_wake(futex_word(header_->bell), std::numeric_limits<int>::max(), mask);
  }
}

void OwnerWords::ring_all() {
  // seq_cst, pairs with announce_waiter. The bits stay: the next free finds out what is left.
  if (shared(header_->waiters).load(std::memory_order_seq_cst) != 0) {
    shared(header_->bell).fetch_add(1, std::memory_order_seq_cst);
    futex_wake(futex_word(header_->bell));
  }
}

std::uint32_t OwnerWords::announce_waiter(unsigned class_index) {
  // seq_cst, pairs with ring_waiters: taken before the bit is set.
  const std::uint32_t bell = shared(header_->bell).load(std::memory_order_seq_cst);
  // seq_cst, pairs with is_wanted: the caller's look at the words comes after it.
  shared(header_->waiters).fetch_or(1U << class_index, std::memory_order_seq_cst);
  return bell;
}

void OwnerWords::wait(unsigned class_index, std::uint32_t bell, Instant deadline) {
  // Whatever ended it: the caller looks again.
  static_cast<void>(futex_wait(futex_word(header_->bell), bell, deadline, 1U << class_index));
}

}  // namespace flowfs::pool
