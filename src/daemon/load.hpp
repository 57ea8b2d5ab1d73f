// SPDX-License-Identifier: BSD-3-Clause
// The configuration of this system: the file read, users and groups looked up.
//
// Threads: any. May block on the name service, hence never on the loop's thread once it serves.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "daemon/config.hpp"

namespace flowfs::daemon {

// Users and groups through the name service of the system.
Accounts system_accounts();

// Reads `file`; an empty name gives the defaults. Errors: lines for people, each naming the file.
std::expected<Config, std::vector<std::string>> load_config(const std::string& file);

// Whether the system has the configured group.
bool group_exists(const std::string& group);

}  // namespace flowfs::daemon
