// SPDX-License-Identifier: BSD-3-Clause
// Going to the background: the process that was started returns when the daemon is ready, or has
// failed, and says which with its exit code.
//
// Threads: one, and the only one: it forks.
#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"

namespace flowfs::daemon {

// What every daemon does first: stdin from /dev/null, no inherited descriptors but stdout, stderr
// and those the service manager passes, cwd "/", umask 077, SIGPIPE ignored.
Status shed_inheritance();

// The way back to the process that was started; empty in the foreground.
class Background {
 public:
  Background() = default;

  // Forks. Returns in the child, which is a session of its own; the parent waits and exits: 0 once
  // the child calls ready(), else with the child's exit code. Errors: those of pipe and fork.
  static Result<Background> enter();

  // Lets the parent return. stdout and stderr go to /dev/null where they are a terminal or a pipe,
  // whose other end would wait for this daemon; files and sockets (the journal) are kept.
  void ready();

 private:
  explicit Background(Fd parent) : parent_(std::move(parent)) {}
  Fd parent_;
};

}  // namespace flowfs::daemon
