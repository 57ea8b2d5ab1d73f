// SPDX-License-Identifier: BSD-3-Clause
// Small programs of our own in memory that both processes share: what the machine can do at best.
#pragma once

#include "group.hpp"
#include "transport.hpp"

namespace flowfs::bench {

// A cache line that goes back and forth: no round trip between two processors is shorter. No
// payload.
Transport cache_line();
// Two words, each waited for and woken in the kernel. No payload.
Transport raw_futex();
// A bare_ring.hpp in each direction.
Transport bare_ring(bool spins);
// One bare_ring.hpp from a sender to several readers, which sleep where there is nothing to do.
Group bare_broadcast();

}  // namespace flowfs::bench
