// SPDX-License-Identifier: BSD-3-Clause
// Looks at the whole tree, with the rights of whoever runs this.
#pragma once

#include "cli/command.hpp"
#include "cli/status_view.hpp"

namespace flowfs::cli {

// 0, or the errno that kept it from looking, at `object`. Objects come and go meanwhile, and most
// of them belong to others: what has gone is left out, what is hidden is counted.
int take_snapshot(const Common& common, Snapshot& snapshot, std::string& object);

// Whether an errno of a file means that it has just gone, or that it is not the caller's to read.
bool has_gone(int error);
bool is_hidden(int error);

}  // namespace flowfs::cli
