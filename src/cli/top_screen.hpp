// SPDX-License-Identifier: BSD-3-Clause
// The live view of `flowctl top` on a terminal. The only user of ncurses.
#pragma once

#include "cli/commands.hpp"

namespace flowfs::cli {

// False: there is no terminal that it could use; nothing has been written.
bool can_use_screen();

// Until `q` is typed, or the daemon is gone.
int run_top_screen(const Common& common, const TopOptions& options);

}  // namespace flowfs::cli
