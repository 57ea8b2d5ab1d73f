// SPDX-License-Identifier: BSD-3-Clause
// Sleeping until the peer does something, and waking a peer that sleeps (docs/dataplane.md).
//
//   wake    s = peer.sleep; if s is odd and not rung yet: rung = s, bell + 1, wake the futex
//   sleep   b = peer.bell; own.sleep = odd; if there is still nothing: wait while peer.bell == b
//           own.sleep = even
//
// The two sides are a Dekker pair: the sleeper stores its epoch and then looks at what it waits
// for; the waker stores what is waited for and then looks at the epoch. All four are seq_cst, so at
// least one of them sees the other. Release and acquire are not enough, nor is a flag the waker may
// not clear; the epoch lets the waker ring once per sleep.
//
// Threads: one thread sleeps per word, one rings per end.
#pragma once

#include <cstdint>

#include "pool/shared.hpp"

namespace flowfs::pool {

// The waking side of an end. `own` holds the bell, `peer` the epochs.
class Bell {
 public:
  Bell(flowfs_segment& own, const flowfs_segment& peer)
      : Bell(own.bell, peer.sleep_data, peer.sleep_room) {}
  // The same for words that are not those of segments.
  Bell(std::uint32_t& bell, const std::uint32_t& sleep_data, const std::uint32_t& sleep_room)
      : bell_(&bell), sleep_data_(&sleep_data), sleep_room_(&sleep_room) {}

  // After a commit. Returns whether it rang.
  bool wake_data() { return wake(*sleep_data_, rung_data_); }
  // After publishing cursors.
  bool wake_room() { return wake(*sleep_room_, rung_room_); }

  // Unasked: the end has shut down, or the daemon speaks for an owner that is gone.
  static void ring(flowfs_segment& own) { ring(own.bell); }
  static void ring(std::uint32_t& bell) {
    // seq_cst, pairs with Sleeper::begin: a sleeper that loaded the bell before this does not
    // sleep.
    shared(bell).fetch_add(1, std::memory_order_seq_cst);
    futex_wake(futex_word(bell));
  }

 private:
  bool wake(const std::uint32_t& epoch, std::uint32_t& rung) {
    // seq_cst, pairs with Sleeper::begin: after the caller's own seq_cst store of what is waited
    // for.
    const std::uint32_t seen = shared(epoch).load(std::memory_order_seq_cst);
    if ((seen & 1U) == 0 || seen == rung) {
      return false;
    }
    rung = seen;
    ring(*bell_);
    return true;
  }

  std::uint32_t* bell_;
  const std::uint32_t* sleep_data_;
  const std::uint32_t* sleep_room_;
  // Epochs already rung. 0 is even, so never one of them.
  std::uint32_t rung_data_ = 0;
  std::uint32_t rung_room_ = 0;
};

// The sleeping side of an end, for one of its two epoch words.
//
//   const uint32_t bell = sleeper.begin(peer.bell);
//   if (nothing there, looked at with seq_cst) futex_wait(&peer.bell, bell);
//   sleeper.end();
class Sleeper {
 public:
  explicit Sleeper(std::uint32_t& epoch)
      // relaxed: the owner's own word. Rounded up to even: whoever slept here before is gone.
      : word_(&epoch), epoch_((shared(epoch).load(std::memory_order_relaxed) + 1U) & ~1U) {}

  // Returns the value of the peer's bell to wait on.
  std::uint32_t begin(const std::uint32_t& peer_bell) {
    // acquire: taken before the epoch is stored, so that a ring answering this sleep changes it.
    const std::uint32_t bell = shared(peer_bell).load(std::memory_order_acquire);
    asleep_ = true;
    // seq_cst, pairs with Bell::wake: the caller's look at the lane comes after it.
    shared(*word_).store(epoch_ + 1, std::memory_order_seq_cst);
    return bell;
  }
  void end() {
    if (asleep_) {
      asleep_ = false;
      epoch_ += 2;
      // release: a waker that still sees the old epoch rings once too often, and no more.
      shared(*word_).store(epoch_, std::memory_order_release);
    }
  }
  [[nodiscard]] bool asleep() const { return asleep_; }

 private:
  std::uint32_t* word_;
  std::uint32_t epoch_;  // even; a shadow, since the word may be writable by others
  bool asleep_ = false;
};

}  // namespace flowfs::pool
