// SPDX-License-Identifier: BSD-3-Clause
// The text of `metrics`: every counter and gauge of the daemon.
#pragma once

#include <string>

#include "fs/tree.hpp"

namespace flowfs::fs {

std::string format_metrics(const Tree& tree, const registry::Registry& registry,
                           const registry::Users& users, std::uint64_t requests_held_back);

}  // namespace flowfs::fs
