// SPDX-License-Identifier: BSD-3-Clause
// One io_uring event loop a thread: descriptors, timers, signals, children, futex words.
//
// Threads: a Loop and everything made by it belong to the thread that runs it; only post() may be
// called from elsewhere (also to stop it: post([&] { loop.stop(); })). A Loop may be made and
// filled by one thread and then run by another, which is its thread from the first run on; it is
// destroyed there, or anywhere once that thread has ended. Callbacks: run on the loop's thread,
// never from inside the call that made the handle. They must not throw and must not run the loop. A
// callback may destroy the handle it was called for, and any other. Owns: the ring. Handles (Watch,
// Timer, FutexWait, Reader) own their registration: destroying one cancels it, its callback never
// runs again, even where the kernel's completion is still due, and what the callback captured is
// destroyed with it. A handle may outlive the loop; it is then inert. Invariants: 1. What the
// kernel may still write to or read from stays alive until it has said that it is done, which the
// destructor of the loop waits for. 2. No submission is ever lost to a full queue. Idle: a loop
// without an armed timer makes no wake-ups.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/futex.hpp"
#include "base/result.hpp"

namespace flowfs {

class Loop {
 public:
  class Impl;       // private to base/loop*.cpp
  class Operation;  // likewise

  // The move-only owner of one registration.
  class Handle {
   public:
    Handle() = default;
    Handle(Handle&& other) noexcept : operation_(std::exchange(other.operation_, nullptr)) {}
    Handle& operator=(Handle&& other) noexcept;
    ~Handle() { reset(); }
    void reset() noexcept;
    explicit operator bool() const { return operation_ != nullptr; }

   protected:
    explicit Handle(Operation* operation) : operation_(operation) {}
    Operation* operation_ = nullptr;
  };

  // Repeated, level-triggered poll of a descriptor, which the caller keeps open while the watch
  // lives: the callback runs as long as an event is there.
  class [[nodiscard]] Watch : public Handle {
   public:
    Watch() = default;

   private:
    friend class Loop;
    using Handle::Handle;
  };

  // A deadline that can be moved. Made unarmed; unarmed again when its callback runs.
  class [[nodiscard]] Timer : public Handle {
   public:
    Timer() = default;
    void arm(Instant deadline);  // replaces an earlier deadline; kNever disarms
    void disarm();
    [[nodiscard]] Instant deadline() const;  // kNever when not armed

   private:
    friend class Loop;
    using Handle::Handle;
  };

  // One wait on a futex word; `callback` runs once, when the word is woken or already differs from
  // `expected`. The word may be in memory mapped read-only and must stay mapped until the handle is
  // gone *and* the loop has seen its completion: pass the owner of the mapping as `keep_alive`.
  // Change the word before a wake: without futexes in the ring, a wake that leaves it as it was may
  // be missed.
  class [[nodiscard]] FutexWait : public Handle {
   public:
    FutexWait() = default;
    [[nodiscard]] bool pending() const;

   private:
    friend class Loop;
    using Handle::Handle;
  };

  // Reads of one descriptor, one at a time, into a buffer the caller names for each. For the FUSE
  // device: waiting and reading take part in the loop's own io_uring_enter, so a request costs one
  // system call fewer than poll and read. The descriptor must be O_NONBLOCK and is kept open by the
  // caller while the reader lives.
  class [[nodiscard]] Reader : public Handle {
   public:
    Reader() = default;
    // Submits one read; exactly one may be under way. The callback may submit the next. `buffer`
    // must live until the callback has run or, after destruction, until the loop has seen the
    // completion: pass its owner as `keep_alive`.
    void read(std::span<std::byte> buffer, std::shared_ptr<void> keep_alive);

   private:
    friend class Loop;
    using Handle::Handle;
  };

  // `oldest` does without whatever Linux 6.1 to 6.7 brought, so that tests can try both ways.
  enum class Features { newest, oldest };

  // Errors: those of io_uring_setup (ENOSYS or EPERM where io_uring is forbidden); ENOSYS where the
  // kernel (before 5.19) lacks something that there is no other way for.
  static Result<std::unique_ptr<Loop>> create(unsigned entries = 256,
                                              Features features = Features::newest);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Serves until stop(). A second run() continues where the first ended.
  void run();
  // Serves what is due and waits for at most `wait`; for tests and for draining.
  void run_once(Micros wait);
  // Ends the run under way, or the next one at once.
  void stop();

  // `events` as in poll(2); the callback gets the ready events. Not only POLLERR and POLLHUP but
  // POLLRDHUP too comes unasked, as io_uring has it. POLLNVAL: the poll itself failed and is not
  // repeated.
  Watch watch(int fd, short events, std::function<void(short revents)> callback);
  Timer timer(std::function<void()> callback);
  FutexWait futex_wait(const FutexWord* word, std::uint32_t expected,
                       std::shared_ptr<void> keep_alive, std::function<void()> callback);
  // `callback` gets the bytes read, or -errno; never -EAGAIN.
  Reader reader(int fd, std::function<void(std::int32_t result)> callback);
  // Blocks `signals` in this thread (and so in those it starts later) and delivers them through a
  // signalfd. They stay blocked when the watch is gone.
  Result<Watch> signals(std::span<const int> signals, std::function<void(int signal)> callback);
  // Runs `callback` once with the wait status when the child ends (pidfd), and reaps it. Errors:
  // ECHILD for what is not a child of this process.
  Result<Watch> child(pid_t pid, std::function<void(int status)> callback);

  // Runs `task` on the loop's thread soon; tasks of one thread run in their order. From any thread.
  // Tasks left when the loop is destroyed are destroyed without being run.
  void post(std::function<void()> task);

  // What the kernel gave: whether FUTEX_WAIT runs in the ring (else helper threads wait).
  [[nodiscard]] bool futex_in_ring() const;
  // Which liburing this is, as "2.9".
  [[nodiscard]] static std::string ring_version();
  // How often the loop has gone round; it stands still while the loop is idle. On the loop's
  // thread.
  [[nodiscard]] std::uint64_t rounds() const;

 private:
  explicit Loop(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace flowfs
