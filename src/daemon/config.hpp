// SPDX-License-Identifier: BSD-3-Clause
// flowfsd.toml: text in, a Config or every problem in it out. No I/O; users and groups are looked
// up by functions that the caller gives, so that it can be tested and fuzzed.
//
// Threads: any, as there is no state.
// Errors: a list of problems, never empty, ordered by line. Nothing is applied from a text that has
// any.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"
#include "fs/server.hpp"
#include "registry/types.hpp"
#include "registry/users.hpp"

namespace flowfs::daemon {

struct Config {
  std::string mount;  // empty: the default of the mode (paths.hpp)
  log::Level log_level = log::Level::info;
  std::string group = "flowfs";
  std::uint64_t longest_message_bytes = registry::kLongestMessage;
  std::uint64_t hot_ring_bytes = fs::Options{}.hot_ring_bytes;
  bool direct = fs::Options{}.direct;
  bool passthrough = fs::Options{}.passthrough_wanted;
  std::string security;   // empty: likewise
  fs::PoolOptions pools;  // but for the group, which is looked up at the start
  registry::Users::Config limits = registry::Users::Config::defaults();
  std::uint64_t requests_per_second = fs::Options{}.requests_per_second;
  registry::NameSettings defaults;
  std::vector<fs::DeclaredName> names;
  std::vector<fs::DeclaredBus> buses;
};

// One thing that is wrong, and where.
struct Problem {
  std::size_t line = 0;
  std::string key;   // dotted, as limits.total.bytes; empty where the text is not TOML
  std::string text;  // what is wrong, and what is allowed
};

// `FILE:LINE: KEY: TEXT`, as compilers and editors know it.
std::string to_string(const Problem& problem, std::string_view file);

// Users and groups by name or number.
struct Accounts {
  struct User {
    uid_t uid = 0;
    gid_t gid = 0;  // the primary group
  };
  User self;  // who owns a declared name that does not say
  std::function<std::optional<User>(std::string_view)> user;
  std::function<std::optional<gid_t>(std::string_view)> group;
};

using Problems = std::vector<Problem>;

std::expected<Config, Problems> parse_config(std::string_view text, const Accounts& accounts);

}  // namespace flowfs::daemon
