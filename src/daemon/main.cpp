// SPDX-License-Identifier: BSD-3-Clause
// flowfsd(8): from the command line to a running daemon.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/memory_reserve.hpp"
#include "daemon/background.hpp"
#include "daemon/command_line.hpp"
#include "daemon/daemon.hpp"
#include "daemon/load.hpp"
#include "daemon/mount_table.hpp"
#include "daemon/paths.hpp"

namespace flowfs::daemon {
namespace {

int fail_with(const std::string& why) {
  log::error("{}", why);
  return EXIT_FAILURE;
}

int check(const std::string& file) {
  const auto loaded = load_config(file);
  if (loaded) {
    fmt::print("ok\n");
    return EXIT_SUCCESS;
  }
  for (const std::string& problem : loaded.error()) {
    fmt::print("{}\n", problem);
  }
  return EXIT_FAILURE;
}

bool fuse_lets_others_in() {
  const Result<std::string> text = read_file("/etc/fuse.conf");
  return text && user_allow_other(*text);
}

// Makes the plan, goes to the background, runs.
int serve(const CommandLine& line) {
  Plan plan{.config_file = line.config,
            .mount = line.mount,
            .user = line.user,
            .rootless = ::geteuid() != 0,
            .allow_other = ::geteuid() == 0 || fuse_lets_others_in(),
            .log_level = line.log_level,
            .config = {}};
  auto loaded = load_config(config_file_of(plan));
  if (!loaded) {
    for (const std::string& problem : loaded.error()) {
      log::error("{}", problem);
    }
    return EXIT_FAILURE;
  }
  plan.config = std::move(*loaded);
  if (plan.mount.empty()) {
    plan.mount = plan.config.mount.empty() ? default_mount(plan.user, system_environment())
                                           : plan.config.mount;
  }
  if (plan.mount.empty()) {
    return fail_with("XDG_RUNTIME_DIR is not set; say where to mount with --mount");
  }
  if (plan.rootless && !plan.user) {
    return fail_with("only root can serve the whole system; --user runs without root");
  }
  auto background = line.foreground ? Background() : Background::enter();
  if (!background) {
    return fail_with(background.error().message());
  }
  return Daemon(std::move(plan), std::move(*background)).run();
}

int run(int argc, const char* const* argv) {
  const auto line = parse_command_line(argc, argv);
  if (!line) {
    return line.error().code;
  }
  if (line->check) {
    return check(line->config.empty() ? default_config(line->user, system_environment())
                                      : line->config);
  }
  memory_reserve::install();
  if (auto shed = shed_inheritance(); !shed) {
    return fail_with(shed.error().message());
  }
  return serve(*line);
}

}  // namespace
}  // namespace flowfs::daemon

int main(int argc, char** argv) { return flowfs::daemon::run(argc, argv); }
