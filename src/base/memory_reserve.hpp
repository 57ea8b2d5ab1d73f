// SPDX-License-Identifier: BSD-3-Clause
// Memory put by for the moment when there is none left, so that what is under way can be finished
// and refused in good order instead of ending the process.
//
// The first allocation that fails takes the reserve and goes on; from then on exhausted() holds,
// and whoever takes in new work refuses it (ENOMEM) until the reserve could be put by again. An
// allocation that fails even then throws std::bad_alloc as ever: code that allocates at a client's
// size handles it. Threads: any. One a process, as std::set_new_handler is.
#pragma once

#include <cstddef>

namespace flowfs::memory_reserve {

inline constexpr std::size_t kBytes = std::size_t{1} << 20;

void install();
// Whether the reserve is spent. Cheap while it is not; else it tries to put it by again.
[[nodiscard]] bool exhausted();

}  // namespace flowfs::memory_reserve
