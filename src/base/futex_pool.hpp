// SPDX-License-Identifier: BSD-3-Clause
// Waits on many futex words with helper threads, for kernels whose io_uring cannot (before 6.7).
//
// Shape: groups of up to 127 words, each with a thread asleep in futex_waitv(2) on its words and on
// a control word of its own, by which it is told of additions and removals. Idle: no wake-ups.
// Threads: one, the loop's, calls everything; `deliver` runs on the helper threads.
// Owns: the threads, joined at destruction. A word stays referenced (keep_alive) until its thread
// has stopped looking at it, which may be later than remove(); what holds it then comes out of
// `deliver` too, so that it never dies on a helper thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/futex.hpp"

namespace flowfs {

class FutexPool {
 public:
  class Group;

  struct Wait {
    const FutexWord* word = nullptr;
    std::uint32_t expected = 0;
    std::shared_ptr<void> keep_alive;
    // The caller's own: called by nobody here. Empty once the wait is over or removed.
    std::function<void()> woken;

   private:
    friend class FutexPool;
    friend class Group;
    static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);
    Group* group_ = nullptr;           // the loop's thread
    std::size_t position_ = kNowhere;  // under the group's mutex
  };
  using Waits = std::vector<std::shared_ptr<Wait>>;

  // `deliver` gets those that were woken or whose words differ, and those removed; each wait once.
  explicit FutexPool(std::function<void(Waits)> deliver);
  ~FutexPool();
  FutexPool(const FutexPool&) = delete;
  FutexPool& operator=(const FutexPool&) = delete;

  // Whether the kernel has futex_waitv (5.16).
  static bool supported();

  void add(const std::shared_ptr<Wait>& wait);
  // A delivery already on its way is not held back.
  void remove(const std::shared_ptr<Wait>& wait);

 private:
  std::function<void(Waits)> deliver_;
  std::vector<std::unique_ptr<Group>> groups_;
};

}  // namespace flowfs
