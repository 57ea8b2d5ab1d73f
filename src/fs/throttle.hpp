// SPDX-License-Identifier: BSD-3-Clause
// How many requests a second a uid may make (threats.md R7): what is over the rate is held back,
// not refused.
//
// What waits is charged to the uid (held and bytes); what it may not hold is refused (EDQUOT).
// It works on whole FUSE requests before they are parsed, so that no operation needs to know. Those
// that clean up or only look (LOOKUP, GETATTR, READDIR, POLL, FLUSH, RELEASE, FORGET, INTERRUPT)
// and all of root's always pass. Threads: the loop's. Invariants:
//   1. A held request is delivered exactly once: when its turn comes, or at once when the kernel
//      interrupts it.
//   2. Requests of one uid are delivered in the order in which they came, but for interrupted ones.
//   3. Nothing waits longer than `longest`.
//   4. An uid that makes no more than `rate` requests a second is never held back.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "base/loop.hpp"
#include "base/token_bucket.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

class Throttle {
 public:
  // What is delivered may be written to (libfuse asks for that); it is not kept.
  using Deliver = std::function<void(std::span<std::byte> request)>;

  // Answers a request, of which at least the header is there, with an errno.
  using Refuse = std::function<void(std::span<const std::byte> request, int error)>;

  Throttle(Loop& loop, registry::Users& users, std::uint64_t rate, Micros longest, Deliver deliver,
           Refuse refuse);

  // Delivers `request` (a whole FUSE request as it was read), now or later.
  void admit(std::span<std::byte> request);
  void set_rate(std::uint64_t rate) { rate_ = rate; }
  // How often a request was held back, ever.
  [[nodiscard]] std::uint64_t held_back() const { return held_back_; }

 private:
  struct Held {
    std::vector<std::byte> request;
    Instant latest;  // when it is delivered whatever the rate
    registry::Charge place;
    registry::Charge bytes;
  };
  struct Account {
    TokenBucket bucket;
    std::deque<Held> held;
  };
  void hold(uid_t uid, Account& account, std::span<const std::byte> request);
  [[nodiscard]] Instant next_turn(const Account& account) const;
  void interrupt(std::span<std::byte> request, std::uint64_t unique);
  void serve();

  registry::Users& users_;
  std::uint64_t rate_;  // a second; kUnlimited: none is held back
  Micros longest_;
  Deliver deliver_;
  Refuse refuse_;
  Loop::Timer timer_;
  std::unordered_map<uid_t, Account> accounts_;
  std::size_t holding_ = 0;
  std::uint64_t held_back_ = 0;
};

}  // namespace flowfs::fs
