// SPDX-License-Identifier: BSD-3-Clause
#include "cli/served_name.hpp"

#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/clock.hpp"

namespace flowfs::cli {

bool ServedName::make(std::optional<std::uint32_t> mode) {
  const mode_t mask = mode ? umask(0) : 0;
  const int result = mkdir(path_.c_str(), mode ? *mode : 0777);
  const int error = errno;
  if (mode) {
    umask(mask);
  }
  made_ = result == 0;
  if (!made_ && error != EEXIST) {
    failed(Deed::make_name, path_, error);
    return false;
  }
  return true;
}

// The kernel tells the daemon of a close only after the fact, so the name may be in use for a
// moment after the last descriptor has gone.
int ServedName::remove() {
  if (!made_) {
    return kDone;
  }
  const Instant deadline = Clock::now() + std::chrono::seconds(1);
  while (rmdir(path_.c_str()) != 0) {
    if (errno == ENOENT) {
      break;
    }
    if (errno != EBUSY || Clock::now() >= deadline) {
      return failed(Deed::remove_name, object_, errno);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return kDone;
}

void ServedName::complain_of_accept(int error) const {
  // Without the mount there is no name either, but that is not what has happened.
  const bool unmounted = error == ENOENT && access(common_.path("version").c_str(), F_OK) != 0;
  failed(Deed::accept, object_, unmounted ? ENOTCONN : error);
}

Fd catch_ends() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  return Fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace flowfs::cli
