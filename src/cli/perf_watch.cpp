// SPDX-License-Identifier: BSD-3-Clause
#include "cli/perf_watch.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>

#include "cli/perf_report.hpp"

namespace flowfs::cli {
namespace {

constexpr int kLookMs = 20;
constexpr std::chrono::seconds kShowEvery{1};

Fd watch_signals(sigset_t& before) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals, &before);
  return Fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace

PerfWatch::PerfWatch(flowfs_handle* flow, const Limits& limits)
    : flow_(flow),
      limits_(limits),
      signals_(watch_signals(mask_before_)),
      finished_(eventfd(0, EFD_CLOEXEC)),
      thread_([this] { run(); }) {}

PerfWatch::~PerfWatch() {
  eventfd_write(finished_.get(), 1);
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  if (shown_at_ != begin_) {
    fmt::print(stderr, "\r\033[K");
  }
}

void PerfWatch::run() {
  Instant last_move = begin_;
  std::uint64_t last_messages = 0;
  for (;;) {
    std::array<pollfd, 2> events{{{.fd = finished_.get(), .events = POLLIN, .revents = 0},
                                  {.fd = signals_.get(), .events = POLLIN, .revents = 0}}};
    poll(events.data(), events.size(), kLookMs);
    if (events[0].revents != 0) {
      return;
    }
    const Instant now = Clock::now();
    if (const std::uint64_t messages = messages_.load(std::memory_order_relaxed);
        messages != last_messages) {
      last_messages = messages;
      last_move = now;
    }
    signalfd_siginfo signal{};
    const bool asked = read(signals_.get(), &signal, sizeof signal) > 0;
    if (!stop() && (asked || now >= limits_.end)) {
      stop_.store(true, std::memory_order_relaxed);
      last_move = now;
    }
    if (!gave_up() && now >= later(last_move, limits_.patience)) {
      shut_down();
    }
    show(now);
  }
}

void PerfWatch::shut_down() {
  stop_.store(true, std::memory_order_relaxed);
  // release, pairs with gave_up(): whose call this ends finds the reason.
  gave_up_.store(true, std::memory_order_release);
  // Fails where the flow has gone, which ends the calls as well.
  static_cast<void>(flowfs_shutdown(flow_, SHUT_RDWR));
}

void PerfWatch::show(Instant now) {
  if (!limits_.shows_progress || now - shown_at_ < kShowEvery) {
    return;
  }
  const std::uint64_t messages = messages_.load(std::memory_order_relaxed);
  const auto elapsed = std::chrono::duration_cast<std::chrono::seconds>(now - begin_);
  fmt::print(stderr, "\r\033[K{}",
             progress(static_cast<std::uint64_t>(elapsed.count()), messages, shown_messages_));
  shown_at_ = now;
  shown_messages_ = messages;
}

}  // namespace flowfs::cli
