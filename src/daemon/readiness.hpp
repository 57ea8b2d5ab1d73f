// SPDX-License-Identifier: BSD-3-Clause
// The proof that the tree serves: a child process reads a file of it.
//
// The daemon must not touch its own mount, as it would wait for itself. So a child does, with
// nothing but open, read and _exit, while the daemon's loop answers it.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.hpp"

namespace flowfs::daemon {

// Forks the child that reads `file`. It ends with status 0 when it could, else with the errno. It
// dies with the daemon and holds none of its descriptors, so that it cannot keep a mount alive.
// Errors: those of fork.
Result<pid_t> start_reader(const std::string& file);

}  // namespace flowfs::daemon
