// SPDX-License-Identifier: BSD-3-Clause
// Touching memory that a client can take away (threats.md R5).
//
// A sealed memfd cannot shrink, but its owner can punch a hole into it, and the page that fills the
// hole may be refused where memory is accounted strictly: SIGBUS, in us. While a guard lives, such
// a fault inside its ranges is repaired (the handler puts a private page of zeros there, the access
// is repeated and goes on) and remembered; whoever made the guard then poisons the flow. Outside
// any guard a SIGBUS is as deadly as ever.
//
// Why this and not process_vm_readv on ourselves or siglongjmp: a guard costs two stores of a
// thread-local word, a system call costs some hundred nanoseconds a message; it covers atomic words
// and writes, which a copying call does not; and no frame is jumped over.
//
// Threads: a guard belongs to its thread and nests. install() once, before the first guard.
// Invariants: a range that faulted is never again memory shared with anybody: its flow is given up.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <span>

#include "base/result.hpp"

namespace flowfs::pool {

class FaultGuard {
 public:
  // Sets the process's SIGBUS handler. Idempotent. Errors: those of sigaction.
  static Status install();

  explicit FaultGuard(std::span<const std::byte> one, std::span<const std::byte> two = {});
  ~FaultGuard();
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;

  [[nodiscard]] bool faulted() const { return faulted_.load(std::memory_order_relaxed); }

 private:
  friend struct FaultHandler;
  FaultGuard* outer_;
  std::array<std::span<const std::byte>, 2> ranges_;
  std::atomic<bool> faulted_ = false;  // written by the handler, on the same thread
};

}  // namespace flowfs::pool
