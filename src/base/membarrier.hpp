// SPDX-License-Identifier: BSD-3-Clause
// A fence of which one side does all the work (membarrier(2), global expedited).
//
// Of two sides that each store and then look at what the other has stored, one sees the other only
// with a full fence on both. Where one comes by all the time and the other seldom, the frequent one
// takes part once, and goes without: the seldom one calls barrier() instead, which puts a full
// fence into whatever runs in the processes that take part.
//
// Threads: any.
#pragma once

namespace flowfs {

// Whether the kernel has barrier(). The same for the life of the machine.
[[nodiscard]] bool has_barriers();

// From now on this process, and what it forks, takes part. False: it has to fence by itself.
[[nodiscard]] bool take_part_in_barriers();

// What any thread of a process that takes part has stored before is seen from now on; and what it
// loads later sees what was stored before this. has_barriers().
void barrier();

}  // namespace flowfs
