// SPDX-License-Identifier: BSD-3-Clause
#include "base/clock.hpp"

namespace flowfs {

std::uint64_t wall_clock_us() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<Micros>(since_epoch).count());
}

}  // namespace flowfs
