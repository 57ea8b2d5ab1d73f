// SPDX-License-Identifier: BSD-3-Clause
// The configuration of this system: the file read, users and groups looked up.
//
// Threads: any. May block on the name service, hence never on the loop's thread once it serves.
#pragma once

#include <sys/types.h>

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config.hpp"

namespace flowfs::daemon {

// Users and groups through the name service of the system.
Accounts system_accounts();

// Reads `file`; an empty name gives the defaults. Errors: lines for people, each naming the file.
std::expected<Config, std::vector<std::string>> load_config(const std::string& file);

// A group of the system by its name or number.
std::optional<gid_t> group_of(const std::string& group);

}  // namespace flowfs::daemon
