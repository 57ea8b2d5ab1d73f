// SPDX-License-Identifier: BSD-3-Clause
// A listening Unix socket, and who connects to it.
//
// Threads: the loop's.
// Invariants: 1. One connection is taken in a turn of the loop. 2. The timer is armed only while
// the daemon is out of descriptors: whoever connects waits meanwhile.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <functional>
#include <vector>

#include "base/fd.hpp"
#include "base/loop.hpp"

namespace flowfs::fs {

class Listener {
 public:
  // A connection, O_NONBLOCK, and whose it was when it was made.
  using Arrived = std::function<void(Fd connection, const ucred& peer)>;

  // `socket` listens already.
  Listener(Loop& loop, Fd socket, Arrived arrived);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

 private:
  void listen();
  void accept();

  Loop& loop_;
  Fd socket_;
  Arrived arrived_;
  Loop::Watch watch_;  // none while the daemon is out of descriptors
  Loop::Timer breath_;
};

// The supplementary groups of who connected.
std::vector<gid_t> groups_of(int socket);

}  // namespace flowfs::fs
