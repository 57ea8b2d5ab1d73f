// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/command_line.hpp"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <system_error>
#include <vector>

namespace flowfs::daemon {
namespace {

constexpr int kUsage = 2;

void describe(CLI::App& app, CommandLine& line, std::string& level) {
  app.name("flowfsd");
  app.add_option("--config", line.config, "configuration file, instead of the default place")
      ->option_text("FILE");
  app.add_option("--mount", line.mount, "directory to mount on, instead of the configured one")
      ->option_text("DIR");
  app.add_flag("--foreground", line.foreground, "stay in the foreground");
  app.add_flag("--user", line.user, "run without root, for this user");
  app.add_flag("--check", line.check, "check the configuration, say what is wrong, and exit");
  app.add_option("--log-level", level, "error, warning, notice, info or debug")
      ->option_text("LEVEL")
      ->check(
          CLI::IsMember(std::vector<std::string>{"error", "warning", "notice", "info", "debug"}));
  app.set_version_flag("--version", "flowfsd " FLOWFS_VERSION, "print the version, and exit");
  app.set_help_flag("--help", "print this, and exit");
}

// The daemon's working directory will be "/".
std::string absolute(const std::string& path) {
  std::error_code error;
  const std::filesystem::path full = std::filesystem::absolute(path, error);
  return path.empty() || error ? path : full.string();
}

}  // namespace

std::expected<CommandLine, ExitNow> parse_command_line(int argc, const char* const* argv) {
  CLI::App app("Mounts flowfs, interprocess communication as a filesystem, and serves it.");
  CommandLine line;
  std::string level;
  describe(app, line, level);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    const int code = app.exit(problem, std::cout, std::cerr);
    return std::unexpected(ExitNow{code == 0 ? 0 : kUsage});
  }
  line.config = absolute(line.config);
  line.mount = absolute(line.mount);
  if (log::Level chosen{}; log::parse_level(level, chosen)) {
    line.log_level = chosen;
  }
  return line;
}

std::string help_text() {
  CLI::App app;
  CommandLine line;
  std::string level;
  describe(app, line, level);
  return app.help();
}

}  // namespace flowfs::daemon
