// SPDX-License-Identifier: BSD-3-Clause
// The running daemon: builds the loop, the registry and the mounted tree, says when they serve,
// obeys signals, and takes everything down again.
//
// Threads: the loop's, but for a reload, which reads the file and asks the name service on a worker
// and comes back with the result.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/loop.hpp"
#include "base/worker.hpp"
#include "daemon/background.hpp"
#include "daemon/config.hpp"
#include "daemon/mount_point.hpp"
#include "fs/server.hpp"
#include "registry/registry.hpp"
#include "registry/users.hpp"

namespace flowfs::daemon {

// What the command line and the configuration together say.
struct Plan {
  std::string config_file;  // given; empty: the default place, looked up again at each reload
  std::string mount;        // absolute
  bool user = false;        // --user: the default places are this user's
  bool rootless = false;    // not uid 0
  bool allow_other = true;
  std::optional<log::Level> log_level;  // given: the configuration's does not count
  Config config;
};

// The configuration file that a plan means now; empty for none.
std::string config_file_of(const Plan& plan);

class Daemon {
 public:
  Daemon(Plan plan, Background background);
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Serves until a signal or the loss of the mount; the exit code of the process. What went wrong
  // has been logged.
  int run();

 private:
  using Loaded = std::expected<Config, std::vector<std::string>>;

  std::expected<void, std::string> start();
  std::expected<void, std::string> make_loop();
  std::expected<void, std::string> mount();
  std::expected<void, std::string> give_up_privileges() const;
  std::expected<void, std::string> start_proof();
  [[nodiscard]] fs::Options server_options() const;
  // Those of the configuration, as far as there is memory for them.
  [[nodiscard]] registry::Users::Config limits_of(const Config& config) const;

  void proven(int status);
  void end_reader();
  void obey(int signal);
  void end(int exit_code);
  void begin_reload();
  void finish_reload(Loaded loaded);
  void apply(Config config);

  Plan plan_;
  Background background_;
  std::unique_ptr<Loop> loop_;
  Loop::Watch signals_;
  Loop::Watch proof_;
  pid_t reader_ = 0;            // the child that proves that we serve; 0 once it has
  std::uint64_t memory_bytes_;  // that the limits must fit into
  registry::Users users_;
  registry::Registry registry_;
  // Before the server: what it could not unmount, the mount point does.
  std::optional<MountPoint> mount_point_;
  std::unique_ptr<fs::Server> server_;
  std::unique_ptr<Workers> reloader_;  // made at the first SIGHUP
  int exit_code_ = 0;
};

}  // namespace flowfs::daemon
