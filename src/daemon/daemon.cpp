// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/daemon.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "daemon/load.hpp"
#include "daemon/memory_limit.hpp"
#include "daemon/notify.hpp"
#include "daemon/paths.hpp"
#include "daemon/privileges.hpp"
#include "daemon/readiness.hpp"
#include "daemon/request_pages.hpp"

namespace flowfs::daemon {
namespace {

std::unexpected<std::string> failed(const Failure& failure) {
  return std::unexpected(failure.message());
}

// What a reload cannot change takes effect at the next start.
void tell_of_restart(const Config& now, const Config& wanted, std::string_view mount) {
  if (!wanted.mount.empty() && wanted.mount != now.mount) {
    log::notice("daemon.mount changes at the next start now={} wanted={}", mount, wanted.mount);
  }
  if (wanted.hot_ring_bytes != now.hot_ring_bytes) {
    log::notice("daemon.hot_ring changes at the next start now={} wanted={}", now.hot_ring_bytes,
                wanted.hot_ring_bytes);
  }
  if (wanted.longest_message_bytes != now.longest_message_bytes) {
    log::notice("daemon.longest_message changes at the next start now={} wanted={}",
                now.longest_message_bytes, wanted.longest_message_bytes);
  }
  if (wanted.passthrough != now.passthrough) {
    log::notice("daemon.passthrough changes at the next start now={} wanted={}", now.passthrough,
                wanted.passthrough);
  }
  if (wanted.security != now.security) {
    log::notice("daemon.security changes at the next start now={} wanted={}", now.security,
                wanted.security);
  }
  if (wanted.group != now.group) {
    log::notice("daemon.group changes at the next start now={} wanted={}", now.group, wanted.group);
  }
}

// Until the next start no message can be longer than the mount was made for.
void keep_longest_message(Config& config, std::uint64_t bytes) {
  config.longest_message_bytes = bytes;
  config.defaults.mtu_bytes = std::min(config.defaults.mtu_bytes, bytes);
  for (fs::DeclaredName& name : config.names) {
    name.settings.mtu_bytes = std::min(name.settings.mtu_bytes, bytes);
  }
}

}  // namespace

std::string config_file_of(const Plan& plan) {
  return plan.config_file.empty() ? default_config(plan.user, system_environment())
                                  : plan.config_file;
}

Daemon::Daemon(Plan plan, Background background)
    : plan_(std::move(plan)),
      background_(std::move(background)),
      memory_bytes_(available_memory()),
      users_(limits_of(plan_.config)),
      registry_(users_) {}

registry::Users::Config Daemon::limits_of(const Config& config) const {
  registry::Users::Config limits = config.limits;
  if (fit_to_memory(limits, memory_bytes_)) {
    log::notice("limits are lowered to the memory there is bytes={}", memory_bytes_);
  }
  return limits;
}

int Daemon::run() {
  log::set_level(plan_.log_level.value_or(plan_.config.log_level));
  if (auto started = start(); !started) {
    log::error("{}", started.error());
    return EXIT_FAILURE;
  }
  loop_->run();
  reloader_.reset();  // it uses the loop
  // Lets go of the FUSE device, on which the loop has a read: only now do calls end that nobody has
  // read, and among them may be our child's.
  loop_.reset();
  end_reader();
  log::info("stopped path={}", mount_point_->path());
  return exit_code_;
}

std::expected<void, std::string> Daemon::start() {
  plan_.config.pools.group = group_of(plan_.config.group);
  if (!plan_.config.pools.group) {
    log::notice("the group of the shared pool does not exist group={}", plan_.config.group);
  }
  if (auto complaint = lacks_pages(plan_.config.longest_message_bytes, kernel_request_pages())) {
    return std::unexpected(std::move(*complaint));
  }
  const auto descriptors = raise_descriptor_limit();
  if (!descriptors) {
    return failed(descriptors.error());
  }
  for (const auto step : {&Daemon::make_loop, &Daemon::mount}) {
    if (auto done = (this->*step)(); !done) {
      return done;
    }
  }
  if (auto done = give_up_privileges(); !done) {
    return done;
  }
  log::debug("mounted path={} descriptors={}", mount_point_->path(), *descriptors);
  return start_proof();
}

// First, so that a signal during the start waits for the loop, and what it made is taken down.
std::expected<void, std::string> Daemon::make_loop() {
  auto loop = Loop::create();
  if (!loop) {
    return failed(loop.error());
  }
  loop_ = std::move(*loop);
  constexpr std::array kSignals{SIGTERM, SIGINT, SIGHUP};
  auto signals = loop_->signals(kSignals, [this](int signal) { obey(signal); });
  if (!signals) {
    return failed(signals.error());
  }
  signals_ = std::move(*signals);
  return {};
}

std::expected<void, std::string> Daemon::mount() {
  auto point = MountPoint::claim(plan_.mount);
  if (!point) {
    return std::unexpected(point.error());
  }
  mount_point_.emplace(std::move(*point));
  if (mount_point_->stale_mounts() > 0) {
    log::notice("detached the mount of a dead daemon path={}", mount_point_->path());
  }
  auto server = fs::Server::mount(*loop_, registry_, users_, server_options(), [this] {
    log::error("the mount has gone path={}", mount_point_->path());
    // Not from here: ending destroys the server that is calling.
    loop_->post([this] { end(EXIT_FAILURE); });
  });
  if (!server) {
    return std::unexpected(
        fmt::format("{}: cannot mount: {}", mount_point_->path(), server.error().message()));
  }
  server_ = std::move(*server);
  return {};
}

std::expected<void, std::string> Daemon::give_up_privileges() const {
  const Status dropped = plan_.rootless ? drop_privileges_rootless() : drop_privileges();
  return dropped ? std::expected<void, std::string>() : failed(dropped.error());
}

std::expected<void, std::string> Daemon::start_proof() {
  const auto reader = start_reader(mount_point_->path() + "/version");
  if (!reader) {
    return failed(reader.error());
  }
  auto watch = loop_->child(*reader, [this](int status) { proven(status); });
  if (!watch) {
    return failed(watch.error());
  }
  proof_ = std::move(*watch);
  reader_ = *reader;
  return {};
}

// A daemon that is told to end before it is ready takes its child along.
void Daemon::end_reader() {
  proof_ = {};
  if (reader_ > 0 && ::kill(reader_, SIGKILL) == 0) {
    while (::waitpid(reader_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  reader_ = 0;
}

fs::Options Daemon::server_options() const {
  return {.mount_point = mount_point_->path(),
          .allow_other = plan_.allow_other,
          .passthrough = !plan_.rootless,
          .passthrough_wanted = plan_.config.passthrough,
          .memory_socket = mount_point_->socket_path(),
          .vde_folder = mount_point_->vde_path(),
          .name_defaults = plan_.config.defaults,
          .names = plan_.config.names,
          .buses = plan_.config.buses,
          .longest_message_bytes = plan_.config.longest_message_bytes,
          .requests_per_second = plan_.config.requests_per_second,
          .direct = plan_.config.direct,
          .pools = plan_.config.pools,
          .hot_ring_bytes = plan_.config.hot_ring_bytes,
          .security = plan_.config.security.empty()
                          ? default_security(plan_.user, system_environment())
                          : plan_.config.security};
}

void Daemon::proven(int status) {
  reader_ = 0;
  if (server_ == nullptr) {
    return;  // ended before it was ready
  }
  if (status != 0) {
    log::error("{}/version cannot be read: {}", mount_point_->path(),
               WIFEXITED(status) ? std::strerror(WEXITSTATUS(status)) : "the reader was killed");
    end(EXIT_FAILURE);
    return;
  }
  log::info("serving path={} passthrough={} futex_in_ring={}", mount_point_->path(),
            server_->passthrough_in_use(), loop_->futex_in_ring());
  notify_ready(mount_point_->path());
  background_.ready();
}

void Daemon::obey(int signal) {
  if (signal == SIGHUP) {
    begin_reload();
    return;
  }
  log::notice("ending signal={}", signal);
  end(EXIT_SUCCESS);
}

void Daemon::end(int exit_code) {
  if (server_ == nullptr) {
    return;
  }
  exit_code_ = exit_code;
  notify_stopping();
  server_->shutdown();
  server_.reset();
  loop_->stop();
}

void Daemon::begin_reload() {
  notify_reloading();
  if (!reloader_) {
    reloader_ = std::make_unique<Workers>(*loop_, "reload");
  }
  auto loaded = std::make_shared<Loaded>();
  const bool begun =
      reloader_->try_submit([loaded, file = config_file_of(plan_)] { *loaded = load_config(file); },
                            [this, loaded] { finish_reload(std::move(*loaded)); });
  if (!begun) {
    log::warning("too many reloads at once");
    notify_reloaded();
  }
}

void Daemon::finish_reload(Loaded loaded) {
  if (server_ == nullptr) {
    return;
  }
  if (loaded) {
    apply(std::move(*loaded));
  } else {
    for (const std::string& line : loaded.error()) {
      log::error("{}", line);
    }
    log::error("kept the old configuration problems={}", loaded.error().size());
  }
  notify_reloaded();
}

void Daemon::apply(Config config) {
  tell_of_restart(plan_.config, config, mount_point_->path());
  config.mount = plan_.config.mount;
  config.group = plan_.config.group;
  config.pools.group = plan_.config.pools.group;
  config.hot_ring_bytes = plan_.config.hot_ring_bytes;
  config.passthrough = plan_.config.passthrough;
  config.security = plan_.config.security;
  keep_longest_message(config, plan_.config.longest_message_bytes);
  plan_.config = std::move(config);
  log::set_level(plan_.log_level.value_or(plan_.config.log_level));
  users_.reconfigure(limits_of(plan_.config));
  server_->reconfigure(server_options());
  log::notice("reloaded the configuration names={}", plan_.config.names.size());
}

}  // namespace flowfs::daemon
