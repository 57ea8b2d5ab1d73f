// SPDX-License-Identifier: BSD-3-Clause
// What a Loop is made of. Included by base/loop*.cpp only.
//
// An Operation is one registration: what a handle points at. It is counted by the handle, by the
// kernel while a request of it is under way, and by its callback while that runs; the last one
// deletes it. The counts are plain: all three live on the loop's thread.
//
// A request goes idle -> queued -> in_kernel -> idle. Nothing is written into the submission queue
// before the loop is about to enter the kernel, so that
//  - a request withdrawn while queued never reaches the kernel (its descriptor may be closed at
//  once),
//  - a full submission queue only means entering the kernel once more.
// user_data is the operation's address. An operation lives until its last completion has been seen
// and submissions are executed in order, so a cancellation cannot hit a later tenant of the
// address.
#pragma once

#include <liburing.h>

#include <mutex>
#include <optional>
#include <vector>

#include "base/futex_pool.hpp"
#include "base/loop.hpp"
#include "base/timer_heap.hpp"

namespace flowfs {

class Loop::Operation {
 public:
  explicit Operation(Impl& loop);
  virtual ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  void retain() { ++references_; }
  void release() {
    if (--references_ == 0) {
      delete this;
    }
  }
  // The handle is gone: gives up its reference.
  void abandon();
  // The loop is gone: only the handle is left.
  void detach();

  std::size_t index = 0;  // in Impl's list of operations

 protected:
  // Takes the registration back from the loop, as far as it has it.
  virtual void withdraw() = 0;
  // Destroys the callback and with it what it captured.
  virtual void forget() = 0;
  // Nothing is under way any more, and never will be.
  virtual void request_lost() {}

  // Runs `callback` so that it may destroy the handle, and with that itself. Nothing of the
  // operation may be touched afterwards unless the caller holds a reference.
  template <typename Callback, typename... Args>
  void call(const Callback& callback, Args... args) noexcept {
    retain();
    running_ = true;
    callback(args...);
    running_ = false;
    if (abandoned_) {
      forget();
    }
    release();
  }

  Impl* loop_;  // null once the loop is gone
  bool abandoned_ = false;

 private:
  unsigned references_ = 1;  // the handle's
  bool running_ = false;
};

// An operation that the kernel works on.
class RingOperation : public Loop::Operation {
 public:
  enum class State : std::uint8_t { idle, queued, in_kernel };

  using Operation::Operation;

  // How many entries of the submission queue prepare() fills.
  [[nodiscard]] virtual unsigned entries() const { return 1; }
  virtual void prepare(io_uring& ring) = 0;
  // The request of a living handle has ended.
  virtual void completed(std::int32_t result) = 0;
  // The request has ended and nobody wants the result: lets go of what only the kernel needed.
  virtual void let_go() {}

  [[nodiscard]] State state() const { return state_; }

 protected:
  void withdraw() override;
  void request_lost() override;

 private:
  friend class Loop::Impl;

  State state_ = State::idle;
  bool cancelling_ = false;  // in_kernel, with a cancellation still to be submitted
  std::size_t slot_ = 0;     // in the queue of requests, or in that of cancellations
};

class Loop::Impl {
 public:
  static Result<std::unique_ptr<Impl>> create(unsigned entries, Features features);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void run();
  void run_once(Micros wait);
  void stop() { stopped_ = true; }
  void post(std::function<void()> task);

  // Called by operations.
  void add(Operation& operation);
  void remove(Operation& operation);
  void submit(RingOperation& operation);
  void withdraw(RingOperation& operation);
  TimerHeap& timers() { return timers_; }
  FutexPool* futex_pool() { return futex_pool_.get(); }  // null where the ring waits for futexes

  [[nodiscard]] bool futex_in_ring() const { return futex_pool_ == nullptr; }
  [[nodiscard]] std::uint64_t rounds() const { return rounds_; }

 private:
  struct Completion {
    RingOperation* operation;
    std::int32_t result;
  };

  Impl() = default;
  Status set_up(unsigned entries, Features features);
  Status set_up_futexes(Features features);
  void begin();
  void end();
  void round(Instant until);  // enters the kernel, at most until then, and serves what came
  void prepare_queued();
  void prepare_cancellations();
  void make_space(unsigned entries);
  void submit_prepared();
  void enter(Instant until);
  void sleep(std::optional<Clock::duration> longest);
  void collect();
  void serve() noexcept;
  void finish(RingOperation& operation, std::int32_t result);
  void run_posted() noexcept;
  void read_wake_up();
  void give_up_requests();

  io_uring ring_{};
  bool ring_made_ = false;
  bool ring_enabled_ = false;
  bool running_ = false;
  bool stopped_ = false;
  std::uint64_t rounds_ = 0;

  std::vector<Operation*> operations_;         // all that live
  std::vector<RingOperation*> queue_;          // to be submitted; null where withdrawn
  std::vector<RingOperation*> cancellations_;  // to be cancelled; null where already completed
  std::vector<Completion> completions_;        // seen, not yet served
  std::size_t requests_in_kernel_ = 0;
  TimerHeap timers_;
  std::unique_ptr<FutexPool> futex_pool_;

  Fd wake_up_;  // eventfd
  std::uint64_t wake_up_count_ = 0;
  Reader wake_up_reader_;
  bool posted_by_self_ = false;
  std::mutex posted_mutex_;
  std::vector<std::function<void()>> posted_;  // under posted_mutex_
};

}  // namespace flowfs
