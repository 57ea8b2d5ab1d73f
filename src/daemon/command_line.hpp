// SPDX-License-Identifier: BSD-3-Clause
// The command line of flowfsd, as flowfsd(8) documents it.
#pragma once

#include <expected>
#include <optional>
#include <string>

#include "base/log.hpp"

namespace flowfs::daemon {

struct CommandLine {
  std::string config;  // empty: the default place; absolute
  std::string mount;   // empty: from the configuration, else the default; absolute
  bool foreground = false;
  bool user = false;
  bool check = false;
  std::optional<log::Level> log_level;  // goes before the configuration's
};

// Why the program ends now: --help and --version with 0, bad usage with 2. What it had to say has
// been printed.
struct ExitNow {
  int code = 0;
};

std::expected<CommandLine, ExitNow> parse_command_line(int argc, const char* const* argv);

// What --help prints.
std::string help_text();

}  // namespace flowfs::daemon
