// SPDX-License-Identifier: BSD-3-Clause
// Signals and children of a Loop: both are descriptors to it.
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/loop_operations.hpp"

namespace flowfs {
namespace {

// Whether `pid` is a child that is still to be reaped.
bool is_child(pid_t pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

}  // namespace

Result<Loop::Watch> Loop::signals(std::span<const int> signals,
                                  std::function<void(int signal)> callback) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) {
    if (sigaddset(&set, signal) != 0) {
      return fail_errno("sigaddset");
    }
  }
  if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    return fail(error, "pthread_sigmask");
  }
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) {
    return fail_errno("signalfd");
  }
  const int number = fd.get();
  // One signal a call: the callback may destroy the watch, and the poll comes back for the rest.
  auto on_ready = [number, told = std::move(callback)](short) {
    signalfd_siginfo info{};
    if (::read(number, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      told(static_cast<int>(info.ssi_signo));
    }
  };
  auto* operation = new WatchOperation(*impl_, number, POLLIN, WatchOperation::Repeat::yes,
                                       std::move(on_ready), std::move(fd));
  impl_->submit(*operation);
  return Watch(operation);
}

Result<Loop::Watch> Loop::child(pid_t pid, std::function<void(int status)> callback) {
  if (pid <= 0 || !is_child(pid)) {
    return fail(ECHILD, "waitid");
  }
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
  if (!fd) {
    return fail_errno("pidfd_open");
  }
  const int number = fd.get();
  auto on_end = [pid, told = std::move(callback)](short) {
    int status = 0;
    const bool reaped = ::waitpid(pid, &status, WNOHANG) == pid;
    told(reaped ? status : -1);
  };
  auto* operation = new WatchOperation(*impl_, number, POLLIN, WatchOperation::Repeat::no,
                                       std::move(on_end), std::move(fd));
  impl_->submit(*operation);
  return Watch(operation);
}

}  // namespace flowfs
