// SPDX-License-Identifier: BSD-3-Clause
// What the commands of flowctl share: where the tree is, how to report, how to do file calls.
//
// Threads: one. Errors: a command prints its own with complain() and returns its exit code; only
// `kUsage` comes from the command line alone.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "cli/explain.hpp"

namespace flowfs::cli {

// As in flowctl(1). ping has its own meaning of 1, after ping(8).
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

struct Common {
  std::string mount;  // chosen, absolute or as given
  bool json = false;

  [[nodiscard]] std::string path(std::string_view below) const {
    return fmt::format("{}/{}", mount, below);
  }
};

// "flowctl: ..." on stderr.
void complain(std::string_view text);
int failed(Deed deed, std::string_view object, int error);  // complains, returns kFailed

// One JSON value a line on stdout, or text as it is; both are flushed, so that a pipe sees them.
void print_json(const nlohmann::ordered_json& value);
void print_text(std::string_view text);

// open(2) with O_CLOEXEC. EINTR is tried again unless `stop` says to give up.
Result<Fd> open_file(const std::string& path, int flags, const std::function<bool()>& stop = {});
// A whole attribute file; EINTR is tried again.
Result<std::string> read_attribute(const std::string& path);
// The entries of a folder but `.` and `..`, sorted: numbers by value, before the rest by name.
Result<std::vector<std::string>> list_folder(const std::string& path);

// "alice", or the number where there is no such user.
std::string user_name(uid_t uid);

// Seconds of an option, rounded.
Micros micros_of(double seconds);

// NAME alone: letters, digits and `. _ : @ -`. Complains otherwise: a slash would be a path.
bool check_name(std::string_view name);
bool is_name(std::string_view name);  // the same, without a word

}  // namespace flowfs::cli
