// SPDX-License-Identifier: BSD-3-Clause
// Small programs of our own in memory that both processes share: what the machine can do at best.
#pragma once

#include "transport.hpp"

namespace flowfs::bench {

// A cache line that goes back and forth: no round trip between two processors is shorter. No
// payload.
Transport cache_line();
// Two words, each waited for and woken in the kernel. No payload.
Transport raw_futex();
// A ring of records with a commit word each, copied in and out, without anything that a flow has
// besides: no checks, no rights, no deaths.
Transport bare_ring(bool spins);

}  // namespace flowfs::bench
