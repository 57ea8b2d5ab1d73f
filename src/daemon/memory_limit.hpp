// SPDX-License-Identifier: BSD-3-Clause
// How much memory this process may have, and limits of the tree that fit into it.
//
// A daemon that is killed for its memory takes every flow with it; one that refuses in time takes
// none. So the totals never promise more than there is, whatever the configuration says.
#pragma once

#include <cstdint>

#include "registry/users.hpp"

namespace flowfs::daemon {

// The smallest of the memory limits of the cgroup and those above it (v1 and v2), RLIMIT_AS,
// RLIMIT_DATA and the machine's memory, less what the process has now. Bytes; 0 where all is used.
std::uint64_t available_memory();

// Lowers totals, and the limits of a uid to a tenth of them, so that all of them together stay
// within `available`. Returns whether anything was lowered.
bool fit_to_memory(registry::Users::Config& limits, std::uint64_t available);

}  // namespace flowfs::daemon
