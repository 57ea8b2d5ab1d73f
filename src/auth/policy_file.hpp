// SPDX-License-Identifier: BSD-3-Clause
// enc.toml: what a name allows and requires; text in, a Policy or every problem in it out.
//
// Keys, all optional:
//   authenticate = "none", "server", "client" or "mutual"
//   encrypt      = "off", "allow" or "require"
//   require-pq   = true or false
//   key-exchange, cipher, digest = lists of names, in the order of preference
// Threads: any, as there is no state.
// Errors: a list of problems, never empty, ordered by line.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "auth/policy.hpp"

namespace flowfs::auth {

inline constexpr std::size_t kLongestPolicy = 16 * 1024;

// One thing that is wrong, and where.
struct PolicyProblem {
  std::size_t line = 0;
  std::string key;   // empty where the text is not TOML
  std::string text;  // what is wrong, and what is allowed
};

// `FILE:LINE: KEY: TEXT`.
std::string to_string(const PolicyProblem& problem, std::string_view file);

std::expected<Policy, std::vector<PolicyProblem>> parse_policy(std::string_view text);

}  // namespace flowfs::auth
