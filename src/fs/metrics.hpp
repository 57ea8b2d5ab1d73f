// SPDX-License-Identifier: BSD-3-Clause
// The text of `metrics`: every counter and gauge of the daemon.
#pragma once

#include <string>

#include "fs/tree.hpp"

namespace flowfs::fs {

// What the session counts before a request reaches the tree.
struct SessionCounters {
  std::uint64_t held_back = 0;
  std::uint64_t out_of_memory = 0;
};

std::string format_metrics(const Tree& tree, const registry::Registry& registry,
                           const registry::Users& users, const SessionCounters& session);

}  // namespace flowfs::fs
