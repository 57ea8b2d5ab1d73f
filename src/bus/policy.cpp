// SPDX-License-Identifier: BSD-3-Clause
#include "bus/policy.hpp"

#include <array>

namespace flowfs::bus {

const char* to_string(Drop drop) {
  static constexpr std::array<const char*, kDrops> kNames{"none",       "runt",       "oversize",
                                                          "bad-source", "wrong-vlan", "same-port",
                                                          "nobody",     "looped",     "malformed"};
  return kNames[static_cast<std::size_t>(drop)];
}

}  // namespace flowfs::bus
