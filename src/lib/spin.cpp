// SPDX-License-Identifier: BSD-3-Clause
#include "lib/spin.hpp"

#include <sched.h>
#include <unistd.h>

#include "flowfs/flowfs.h"

namespace flowfs::lib {

SpinPolicy spin_policy(unsigned flags) {
  if ((flags & FLOWFS_SPIN_NEVER) != 0) {
    return SpinPolicy::never;
  }
  return (flags & FLOWFS_SPIN_ALWAYS) != 0 ? SpinPolicy::always : SpinPolicy::adaptive;
}

bool shares_only_processor(int peer) {
  // Asked once: the answer takes opening a file, as long as a tenth of what attaching takes.
  static const bool kOnlyOne = ::sysconf(_SC_NPROCESSORS_ONLN) == 1;
  if (kOnlyOne) {
    return true;
  }
  cpu_set_t mine;
  cpu_set_t theirs;
  return peer > 0 && ::sched_getaffinity(0, sizeof mine, &mine) == 0 && CPU_COUNT(&mine) == 1 &&
         ::sched_getaffinity(peer, sizeof theirs, &theirs) == 0 && CPU_EQUAL(&mine, &theirs);
}

}  // namespace flowfs::lib
