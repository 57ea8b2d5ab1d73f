// SPDX-License-Identifier: BSD-3-Clause
// Ends a measurement from outside: when its time is over, at Ctrl-C, and when nothing moves any
// more. The measuring calls then need no timeouts, which would cost as much as a message.
//
// Threads: one of its own; stop(), gave_up() and moved() from the measuring ones. While it lives
// the signals are blocked in the thread that made it and in those started meanwhile.
#pragma once

#include <atomic>
#include <csignal>
#include <cstdint>
#include <thread>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "flowfs/flowfs.h"

namespace flowfs::cli {

class PerfWatch {
 public:
  struct Limits {
    Instant end = kNever;
    Micros patience{0};           // without any progress, and for the last messages after the end
    bool shows_progress = false;  // a line on stderr
  };

  PerfWatch(flowfs_handle* flow, const Limits& limits);
  ~PerfWatch();
  PerfWatch(const PerfWatch&) = delete;
  PerfWatch& operator=(const PerfWatch&) = delete;

  // Whether to begin nothing new. relaxed: a moment later will do.
  [[nodiscard]] bool stop() const { return stop_.load(std::memory_order_relaxed); }
  // Nothing moved for too long, so the flow was shut down: calls that waited on it have ended.
  // acquire, pairs with shut_down().
  [[nodiscard]] bool gave_up() const { return gave_up_.load(std::memory_order_acquire); }
  // So many messages are through. relaxed: it is only looked at for progress.
  void moved(std::uint64_t messages) { messages_.store(messages, std::memory_order_relaxed); }

 private:
  void run();
  void shut_down();
  void show(Instant now);

  flowfs_handle* flow_;
  Limits limits_;
  sigset_t mask_before_{};
  Fd signals_;
  Fd finished_;
  Instant begin_ = Clock::now();
  std::atomic<bool> stop_ = false;
  std::atomic<bool> gave_up_ = false;
  std::atomic<std::uint64_t> messages_ = 0;
  // Of the line shown last.
  Instant shown_at_ = begin_;
  std::uint64_t shown_messages_ = 0;
  std::thread thread_;
};

}  // namespace flowfs::cli
