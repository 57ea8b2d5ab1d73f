// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/notify.hpp"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "base/clock.hpp"
#include "base/log.hpp"

namespace flowfs::daemon {
namespace {

void tell(const std::string& state) {
  // 0: there is no service manager to tell.
  if (const int sent = ::sd_notify(0, state.c_str()); sent < 0) {
    log::warning("cannot notify the service manager error={}", -sent);
  }
}

}  // namespace

void notify_ready(std::string_view mount_point) {
  tell(fmt::format("READY=1\nSTATUS=Serving at {}", mount_point));
  const std::string line = fmt::format("flowfsd: ready at {}\n", mount_point);
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) {
    return;  // nobody reads stderr: the service manager and the starting process know all the same
  }
}

void notify_reloaded() { tell("READY=1"); }

void notify_reloading() {
  const auto now = std::chrono::duration_cast<Micros>(Clock::now().time_since_epoch());
  tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.count()));
}

void notify_stopping() { tell("STOPPING=1"); }

}  // namespace flowfs::daemon
