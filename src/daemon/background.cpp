// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/background.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>

#include "base/log.hpp"

namespace flowfs::daemon {
namespace {

Status to_dev_null(int fd) {
  Fd null(::open("/dev/null", O_RDWR));
  if (!null) {
    return fail_errno("/dev/null");
  }
  if (null.get() == fd) {  // it was closed: the open took its place
    static_cast<void>(null.release());
    return {};
  }
  return ::dup2(null.get(), fd) < 0 ? fail_errno("dup2") : Status();
}

// Someone may wait for the last writer of it to go away.
bool is_waited_for(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode));
}

[[noreturn]] void wait_and_exit(const Fd& child_says, pid_t child) {
  char ready = 0;
  ssize_t got = 0;
  do {
    got = ::read(child_says.get(), &ready, 1);
  } while (got < 0 && errno == EINTR);
  if (got == 1) {
    ::_exit(EXIT_SUCCESS);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  ::_exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_FAILURE);
}

}  // namespace

Status shed_inheritance() {
  const auto passed = static_cast<unsigned>(std::max(0, ::sd_listen_fds(0)));
  if (::close_range(SD_LISTEN_FDS_START + passed, UINT_MAX, 0) != 0) {
    return fail_errno("close_range");
  }
  // A closed 0, 1 or 2 would be handed out to the next open and then be written to.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fd == STDIN_FILENO || ::fcntl(fd, F_GETFD) < 0) {
      if (auto done = to_dev_null(fd); !done) {
        return done;
      }
    }
  }
  if (::chdir("/") != 0) {
    return fail_errno("chdir");
  }
  ::umask(077);
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  if (::sigaction(SIGPIPE, &ignore, nullptr) != 0) {
    return fail_errno("sigaction");
  }
  return {};
}

Result<Background> Background::enter() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail_errno("pipe");
  }
  Fd reader(ends[0]);
  Fd writer(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) {
    return fail_errno("fork");
  }
  if (child > 0) {
    writer.reset();
    wait_and_exit(reader, child);
  }
  if (::setsid() < 0) {
    return fail_errno("setsid");
  }
  return Background(std::move(writer));
}

void Background::ready() {
  if (!parent_) {
    return;
  }
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    if (!is_waited_for(fd)) {
      continue;
    }
    if (const Status done = to_dev_null(fd); !done) {
      log::warning("cannot let go of an output fd={} error=\"{}\"", fd, done.error().message());
    }
  }
  const char ready = 1;
  // A parent that was killed does not read it; the daemon lives on all the same.
  static_cast<void>(!::write(parent_.get(), &ready, 1));
  parent_.reset();
}

}  // namespace flowfs::daemon
