// SPDX-License-Identifier: BSD-3-Clause
#include "base/futex_pool.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <mutex>
#include <thread>
#include <utility>

#include "base/thread.hpp"

namespace flowfs {
namespace {

constexpr std::size_t kGroupSize = FUTEX_WAITV_MAX - 1;  // one is the control word

struct futex_waitv entry_for(const FutexWord* word, std::uint32_t expected) {
  struct futex_waitv entry{};
  entry.val = expected;
  entry.uaddr = reinterpret_cast<std::uintptr_t>(word);
  entry.flags = FUTEX_32;
  return entry;
}

}  // namespace

class FutexPool::Group {
 public:
  explicit Group(const std::function<void(Waits)>& deliver)
      : deliver_(deliver), thread_(start_thread("flowfs-futex", [this] { serve(); })) {}

  ~Group() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    tell();
    thread_.join();
  }

  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  bool try_add(const std::shared_ptr<Wait>& wait) {
    {
      const std::lock_guard lock(mutex_);
      if (waits_.size() == kGroupSize) {
        return false;
      }
      wait->position_ = waits_.size();
      waits_.push_back(wait);
    }
    tell();
    return true;
  }

  void remove(Wait& wait) {
    {
      const std::lock_guard lock(mutex_);
      if (wait.position_ == Wait::kNowhere) {
        return;
      }
      removed_.push_back(take_out(wait));
    }
    tell();
  }

 private:
  // Under mutex_.
  std::shared_ptr<Wait> take_out(Wait& wait) {
    const std::size_t position = std::exchange(wait.position_, Wait::kNowhere);
    std::shared_ptr<Wait> taken = std::exchange(waits_[position], nullptr);
    if (position + 1 != waits_.size()) {
      waits_[position] = std::move(waits_.back());
      waits_[position]->position_ = position;
    }
    waits_.pop_back();
    return taken;
  }

  void tell() {
    // release, pairs with the acquire in serve(); the lists themselves are under mutex_.
    changes_.fetch_add(1, std::memory_order_release);
    futex_wake(&changes_);
  }

  // Sleeps on `waits`; the index of the one woken, -1 for none in particular, -2 for all.
  int sleep(const Waits& waits, std::uint32_t changes) {
    std::array<struct futex_waitv, FUTEX_WAITV_MAX> entries{};
    entries[0] = entry_for(&changes_, changes);
    for (std::size_t i = 0; i < waits.size(); ++i) {
      entries[i + 1] = entry_for(waits[i]->word, waits[i]->expected);
    }
    const long woken = ::syscall(SYS_futex_waitv, entries.data(), waits.size() + 1, 0U, nullptr, 0);
    if (woken >= 0) {
      return static_cast<int>(woken) - 1;
    }
    // Where the kernel refuses, a wake too many is harmless and one too few is not.
    return errno == EAGAIN || errno == EINTR ? kNone : kAll;
  }

  void serve() {
    while (true) {
      Waits over;
      Waits waits;
      std::uint32_t changes = 0;
      {
        const std::lock_guard lock(mutex_);
        if (stopping_) {
          return;
        }
        over.swap(removed_);  // this thread looks at none of their words now
        waits = waits_;
        changes = changes_.load(std::memory_order_acquire);  // pairs with the release in tell()
      }
      hand_over(std::move(over));
      const int woken = sleep(waits, changes);
      over = take_ended(waits, woken);
      waits.clear();  // so that the last reference to a wait never dies here
      hand_over(std::move(over));
    }
  }

  Waits take_ended(const Waits& waits, int woken) {
    Waits ended;
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < waits.size(); ++i) {
      Wait& wait = *waits[i];
      // relaxed: only decides that somebody looks at the word again, with an order of his own.
      const bool differs = wait.word->load(std::memory_order_relaxed) != wait.expected;
      if ((differs || woken == kAll || std::cmp_equal(woken, i)) &&
          wait.position_ != Wait::kNowhere) {
        ended.push_back(take_out(wait));
      }
    }
    return ended;
  }

  void hand_over(Waits waits) {
    if (!waits.empty()) {
      deliver_(std::move(waits));
    }
  }

  static constexpr int kNone = -1;
  static constexpr int kAll = -2;

  const std::function<void(Waits)>& deliver_;
  FutexWord changes_{0};
  std::mutex mutex_;
  Waits waits_;            // under mutex_
  Waits removed_;          // under mutex_; the thread may still be looking at their words
  bool stopping_ = false;  // under mutex_
  std::thread thread_;     // last: it uses all the others
};

FutexPool::FutexPool(std::function<void(Waits)> deliver) : deliver_(std::move(deliver)) {}

FutexPool::~FutexPool() = default;

bool FutexPool::supported() {
  // No words is EINVAL where the call exists.
  return ::syscall(SYS_futex_waitv, nullptr, 0U, 0U, nullptr, 0) < 0 && errno == EINVAL;
}

void FutexPool::add(const std::shared_ptr<Wait>& wait) {
  // From the back: the group begun last is the likeliest to have room.
  for (auto group = groups_.rbegin(); group != groups_.rend(); ++group) {
    if ((*group)->try_add(wait)) {
      wait->group_ = group->get();
      return;
    }
  }
  groups_.push_back(std::make_unique<Group>(deliver_));
  wait->group_ = groups_.back().get();
  groups_.back()->try_add(wait);
}

void FutexPool::remove(const std::shared_ptr<Wait>& wait) { wait->group_->remove(*wait); }

}  // namespace flowfs
