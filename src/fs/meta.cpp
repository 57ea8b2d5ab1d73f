// SPDX-License-Identifier: BSD-3-Clause
#include "fs/meta.hpp"

namespace flowfs::fs {

timespec wall_clock_now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now;
}

}  // namespace flowfs::fs
