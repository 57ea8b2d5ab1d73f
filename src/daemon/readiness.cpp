// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/readiness.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>

namespace flowfs::daemon {
namespace {

// Only what is safe after fork in a process that may have threads.
[[noreturn]] void read_and_exit(const char* file, pid_t daemon) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::close_range(STDERR_FILENO + 1, UINT_MAX, 0);
  if (::getppid() != daemon) {
    ::_exit(ESRCH);  // the daemon had died before PDEATHSIG was set
  }
  const int fd = ::open(file, O_RDONLY | O_CLOEXEC);
  std::array<char, 64> text{};
  const ssize_t got = fd < 0 ? -1 : ::read(fd, text.data(), text.size());
  if (got < 0) {
    ::_exit(errno);
  }
  ::_exit(got > 0 ? 0 : ENODATA);
}

}  // namespace

Result<pid_t> start_reader(const std::string& file) {
  const pid_t daemon = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) {
    return fail_errno("fork");
  }
  if (child == 0) {
    read_and_exit(file.c_str(), daemon);
  }
  return child;
}

}  // namespace flowfs::daemon
