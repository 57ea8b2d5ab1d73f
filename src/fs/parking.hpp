// SPDX-License-Identifier: BSD-3-Clause
// Requests that wait: held without an answer until something happens.
//
// Threads: the loop's.
// Invariants:
//   1. A parked request is in exactly one Waits and is answered exactly once: by whoever completes
//      it, by an interrupt (EINTR, at once), by its deadline (late_error), or at the end
//      (abort_all).
//   2. Each is charged to its caller as Resource::held and gives the charge back when it leaves.
//   3. Nothing parks longer than the kernel's limit for FUSE requests, which would abort the mount.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <span>
#include <vector>

#include "base/clock.hpp"
#include "base/loop.hpp"
#include "fs/node.hpp"
#include "fs/request.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

class File;
class Parking;
class Waits;

// What is remembered of a request that waits.
struct Parked {
  Request request;
  File* file = nullptr;           // read, write: the descriptor
  std::size_t size = 0;           // read: the most that fits
  std::vector<std::byte> data{};  // write: the message
  Node node{};                    // open: what is opened
  int flags = 0;                  // open: how
  registry::Charge bytes{};       // write: for `data`
  registry::Charge descriptor{};  // open: for the file it will make
  int late_error = EINTR;         // the answer at the deadline

  // Set by Parking.
  registry::Charge held{};
  Instant deadline = kNever;
  Waits* home = nullptr;
  std::list<Parked>::iterator self{};
  std::list<Parked*>::iterator due{};
};

// A first-in first-out line of parked requests. Its owner completes them; what is still in it when
// it is destroyed is answered ECONNABORTED.
class Waits {
 public:
  // `on_cancel` runs after each request that ends without the owner's doing (an interrupted open
  // gives its end back there). It may destroy this object.
  explicit Waits(Parking& parking, std::function<void()> on_cancel = nullptr)
      : parking_(parking), on_cancel_(std::move(on_cancel)) {}
  ~Waits();
  Waits(const Waits&) = delete;
  Waits& operator=(const Waits&) = delete;

  [[nodiscard]] bool empty() const { return line_.empty(); }
  [[nodiscard]] std::size_t size() const { return line_.size(); }
  [[nodiscard]] Parked& front() { return line_.front(); }
  // How many ever waited here, and how many of them got what they waited for.
  [[nodiscard]] std::uint64_t waits() const { return waits_; }
  [[nodiscard]] std::uint64_t wake_ups() const { return wake_ups_; }
  // Takes the request out for its owner to answer.
  Parked take_front();
  // Answers all with `error`.
  void fail_all(int error);
  // Answers those of one descriptor with `error`; `on_cancel` does not run.
  void fail_of(const File* file, int error);

 private:
  friend class Parking;
  Parking& parking_;
  std::function<void()> on_cancel_;
  std::list<Parked> line_;
  std::uint64_t waits_ = 0;
  std::uint64_t wake_ups_ = 0;
};

class Parking {
 public:
  // `limit`: the longest time a request may be held (kNever in all practice; the sysctls
  // fs.fuse.{default,max}_request_timeout say otherwise).
  Parking(Loop& loop, registry::Users& users, Replies& replies, Micros limit);

  // Parks the request in `home` until somebody takes it. On a failed charge (EDQUOT, ENFILE) the
  // request is answered with that errno, and `false` returned. The request may already have been
  // interrupted: then it is gone when this returns.
  bool park(Waits& home, Parked parked);
  // The same for a write that keeps its message, which is charged to the caller. Also ENOMEM.
  bool park_message(Waits& home, Parked parked, std::span<const std::byte> message);

  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::uint64_t interrupted() const { return interrupted_; }

 private:
  friend class Waits;
  static void on_interrupt(fuse_req_t request, void* parked);
  void cancel(Parked& parked, int error);
  Parked remove(Parked& parked);
  void expire();

  registry::Users& users_;
  Replies& replies_;
  Micros limit_;
  Loop::Timer timer_;
  std::list<Parked*> due_;  // by deadline, only where there is a limit
  std::size_t count_ = 0;
  std::uint64_t interrupted_ = 0;
};

// Half of the smaller of the kernel's FUSE request timeouts, or the longest time there is.
Micros longest_park();

}  // namespace flowfs::fs
