// SPDX-License-Identifier: BSD-3-Clause
// Ends blocking calls of this process at a deadline or at Ctrl-C.
//
// How: a read or write that waits in flowfs ends with EINTR at any signal, so a timer that sends
// one is a deadline for calls that have none. A signal that comes just before the call begins to
// wait would be missed: once due, the timer repeats every kRepeat until it is armed anew. Threads:
// one. Only one Interrupts may exist at a time (signal handlers are the process's).
#pragma once

#include <ctime>

#include "base/clock.hpp"
#include "base/result.hpp"

namespace flowfs::cli {

class Interrupts {
 public:
  static constexpr Micros kRepeat{10'000};

  // Takes over SIGINT, SIGTERM, SIGHUP and SIGALRM. Errors: those of timer_create and sigaction.
  static Result<Interrupts> install();
  ~Interrupts();
  Interrupts(Interrupts&& other) noexcept;
  Interrupts& operator=(Interrupts&&) = delete;

  // Calls that wait get EINTR from `wait` on, until the next arm() or disarm(). Once stop() is true
  // they get it in any case.
  void arm(Micros wait);
  void disarm();
  // Whether the user asked to end.
  [[nodiscard]] bool stop() const;

 private:
  Interrupts() = default;
  bool installed_ = false;
};

}  // namespace flowfs::cli
