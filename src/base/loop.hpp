// SPDX-License-Identifier: BSD-3-Clause
// One io_uring event loop a thread: descriptors, timers, signals, children, futex words.
//
// Threads: a Loop and everything made by it belong to the thread that runs it. Only post() and
// stop_from_other_thread() may be called from elsewhere.
// Callbacks: run on the loop's thread, never from inside the call that made the handle. They must
// not throw. A callback may destroy the handle it was called for.
// Owns: the ring. Handles (Watch, Timer, FutexWait, Reader) own their registration: destroying one
// cancels it, and its callback never runs again, even where the kernel's completion is still due.
// Idle: a loop with no armed timer makes no wake-ups.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/futex.hpp"
#include "base/result.hpp"

namespace flowfs {

class Loop {
 public:
  class Impl;  // private to loop.cpp

  // Repeated poll of a descriptor (which the caller keeps open while the watch lives).
  class [[nodiscard]] Watch {
   public:
    Watch() = default;
    Watch(Watch&&) noexcept;
    Watch& operator=(Watch&&) noexcept;
    ~Watch();
    explicit operator bool() const { return operation_ != nullptr; }

   private:
    friend class Loop;
    struct Operation;
    std::shared_ptr<Operation> operation_;
  };

  // A deadline that can be moved. Made unarmed.
  class [[nodiscard]] Timer {
   public:
    Timer() = default;
    Timer(Timer&&) noexcept;
    Timer& operator=(Timer&&) noexcept;
    ~Timer();
    void arm(Instant deadline);  // replaces an earlier deadline; kNever disarms
    void disarm();
    [[nodiscard]] Instant deadline() const;  // kNever when not armed

   private:
    friend class Loop;
    struct Operation;
    std::shared_ptr<Operation> operation_;
  };

  // One wait on a futex word; `callback` runs once, when the word is woken or already differs from
  // `expected`. The word may be in memory mapped read-only and must stay mapped until the handle is
  // gone *and* the loop has seen its completion: pass the owner of the mapping as `keep_alive`.
  class [[nodiscard]] FutexWait {
   public:
    FutexWait() = default;
    FutexWait(FutexWait&&) noexcept;
    FutexWait& operator=(FutexWait&&) noexcept;
    ~FutexWait();
    [[nodiscard]] bool pending() const;

   private:
    friend class Loop;
    struct Operation;
    std::shared_ptr<Operation> operation_;
  };

  // Reads of one descriptor, one at a time, into a buffer the caller names for each. For the FUSE
  // device: a read takes part in the loop's own io_uring_enter, so a request costs one system call
  // fewer than poll and read. The descriptor should be O_NONBLOCK.
  class [[nodiscard]] Reader {
   public:
    Reader() = default;
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;
    ~Reader();
    // Submits one read; exactly one may be under way. `buffer` must live until the callback has run
    // or, after destruction, until the loop is destroyed: pass its owner as `keep_alive`.
    void read(std::span<std::byte> buffer, std::shared_ptr<void> keep_alive);

   private:
    friend class Loop;
    struct Operation;
    std::shared_ptr<Operation> operation_;
  };

  // Errors: those of io_uring_setup (ENOSYS or EPERM where io_uring is forbidden).
  static Result<std::unique_ptr<Loop>> create(unsigned entries = 256);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Serves until stop(). A second run() continues where the first ended.
  void run();
  // Serves what is due and waits for at most `wait`; for tests and for draining.
  void run_once(Micros wait);
  void stop();

  // `events` as in poll(2); the callback gets the ready events (or POLLERR for a failed poll).
  Watch watch(int fd, short events, std::function<void(short revents)> callback);
  Timer timer(std::function<void()> callback);
  FutexWait futex_wait(const FutexWord* word, std::uint32_t expected, std::shared_ptr<void> keep_alive,
                       std::function<void()> callback);
  // `callback` gets the bytes read, or -errno.
  Reader reader(int fd, std::function<void(std::int32_t result)> callback);
  // Blocks `signals` in this thread and delivers them through a signalfd.
  Result<Watch> signals(std::span<const int> signals, std::function<void(int signal)> callback);
  // Runs `callback` once with the wait status when the child ends (pidfd), and reaps it.
  Result<Watch> child(pid_t pid, std::function<void(int status)> callback);

  // Runs `task` on the loop's thread soon. From any thread.
  void post(std::function<void()> task);

  // What the kernel gave: whether FUTEX_WAIT runs in the ring (else a helper thread a word serves).
  [[nodiscard]] bool futex_in_ring() const;

 private:
  explicit Loop(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace flowfs
