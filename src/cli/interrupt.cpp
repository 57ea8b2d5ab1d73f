// SPDX-License-Identifier: BSD-3-Clause
#include "cli/interrupt.hpp"

#include <algorithm>
#include <csignal>
#include <utility>

namespace flowfs::cli {
namespace {

// Signal handlers reach nothing but what is global.
volatile std::sig_atomic_t stop_asked = 0;
timer_t timer{};

void set_timer(Micros wait) {
  const auto to_timespec = [](Micros time) {
    return timespec{.tv_sec = time.count() / 1'000'000,
                    .tv_nsec = time.count() % 1'000'000 * 1'000};
  };
  const itimerspec setting{.it_interval = to_timespec(Interrupts::kRepeat),
                           .it_value = to_timespec(wait)};
  timer_settime(timer, 0, &setting, nullptr);  // async-signal-safe
}

void on_stop(int /*signal*/) {
  stop_asked = 1;
  set_timer(Interrupts::kRepeat);
}

void on_alarm(int /*signal*/) {}

bool handle(int signal, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;  // without SA_RESTART: calls end with EINTR
  return sigaction(signal, &action, nullptr) == 0;
}

}  // namespace

Result<Interrupts> Interrupts::install() {
  stop_asked = 0;
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGALRM;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) {
    return fail_errno("timer_create");
  }
  Interrupts interrupts;
  interrupts.installed_ = true;
  if (!handle(SIGALRM, on_alarm) || !handle(SIGINT, on_stop) || !handle(SIGTERM, on_stop) ||
      !handle(SIGHUP, on_stop)) {
    return fail_errno("sigaction");
  }
  return interrupts;
}

Interrupts::Interrupts(Interrupts&& other) noexcept
    : installed_(std::exchange(other.installed_, false)) {}

Interrupts::~Interrupts() {
  if (installed_) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGALRM}) {
      handle(signal, SIG_DFL);
    }
    timer_delete(timer);
  }
}

void Interrupts::arm(Micros wait) {
  // Zero would disarm it. The order matters where Ctrl-C comes between the two.
  set_timer(std::max(wait, Micros{1}));
  if (stop()) {
    set_timer(kRepeat);
  }
}

void Interrupts::disarm() {
  const itimerspec none{};
  timer_settime(timer, 0, &none, nullptr);
  if (stop()) {
    set_timer(kRepeat);
  }
}

bool Interrupts::stop() const { return stop_asked != 0; }

}  // namespace flowfs::cli
