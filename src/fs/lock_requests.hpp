// SPDX-License-Identifier: BSD-3-Clause
// FUSE's lock requests: asks the lock table, and parks those that wait.
//
// The kernel locks directories by itself and never asks about them.
//
// Threads: the loop's.
// Errors: ENOLCK a file that has no locks, or too many of them; EAGAIN a conflict; EDEADLK; those
//         of parking.
// Invariants: `waits_` has one line of one request for each claim that waits in the table.
#pragma once

#include <fcntl.h>

#include <memory>
#include <unordered_map>

#include "fs/file.hpp"
#include "fs/locks.hpp"
#include "fs/parking.hpp"

namespace flowfs::fs {

class LockRequests {
 public:
  LockRequests(Parking& parking, Replies& replies) : parking_(parking), replies_(replies) {}

  // `operation` as flock(2) has it; LOCK_NB: do not wait.
  void flock(Request request, const File& file, std::uint64_t owner, int operation);
  // F_SETLK, or F_SETLKW where it may wait. Offsets count from the beginning.
  void set(Request request, const File& file, std::uint64_t owner, const struct flock& wanted,
           bool may_wait);
  // F_GETLK.
  void get(Request request, const File& file, std::uint64_t owner, const struct flock& wanted);

  // An owner closed one of its descriptors of the file: its fcntl locks go.
  void flushed(const File& file, std::uint64_t owner);
  // The last descriptor has gone: nothing of the file may be left.
  void released(const File& file);
  // Ends every wait with `error`, and forgets every lock.
  void abort_all(int error);

  [[nodiscard]] const LockTable& table() const { return table_; }

 private:
  using Ticket = LockTable::Ticket;

  void take(Request request, const LockClaim& claim, bool may_wait);
  void wait(Request request, const LockClaim& claim);
  void answer_ended();

  Parking& parking_;
  Replies& replies_;
  LockTable table_;
  std::unordered_map<Ticket, std::unique_ptr<Waits>> waits_;
};

}  // namespace flowfs::fs
