// SPDX-License-Identifier: BSD-3-Clause
#include "base/membarrier.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.hpp"

namespace flowfs {
namespace {

long membarrier(int command) { return ::syscall(SYS_membarrier, command, 0U, 0); }

}  // namespace

bool has_barriers() {
  static const bool found = [] {
    const long commands = membarrier(MEMBARRIER_CMD_QUERY);
    return commands > 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0;
  }();
  return found;
}

bool take_part_in_barriers() { return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0; }

void barrier() {
  const long done = membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
  FLOWFS_CHECK(done == 0);
}

}  // namespace flowfs
