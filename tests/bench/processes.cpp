// SPDX-License-Identifier: BSD-3-Clause
#include "processes.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string_view>

namespace flowfs::bench {
namespace {

// Another process that dies would be waited for for ever.
void on_end(int /*signal*/, siginfo_t* about, void* /*context*/) {
  if (about->si_code != CLD_EXITED || about->si_status != 0) {
    constexpr std::string_view kText = "a process of the measurement failed\n";
    (void)!write(STDERR_FILENO, kText.data(), kText.size());
    _exit(1);
  }
}

void watch_processes() {
  struct sigaction action{};
  action.sa_sigaction = on_end;
  action.sa_flags = SA_SIGINFO | SA_NOCLDSTOP | SA_RESTART;
  if (sigaction(SIGCHLD, &action, nullptr) != 0) {
    die("sigaction");
  }
}

}  // namespace

void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

pid_t start_process(const std::function<void()>& body) {
  watch_processes();
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    die("fork");
  }
  if (pid == 0) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
      _exit(1);
    }
    body();
    _exit(0);
  }
  return pid;
}

void finish_process(pid_t pid) {
  if (waitpid(pid, nullptr, 0) != pid) {
    die("waitpid");
  }
}

pid_t daemon_process() {
  const char* const pid = std::getenv("FLOWFS_DAEMON_PID");
  if (pid == nullptr) {
    (void)std::fputs("$FLOWFS_DAEMON_PID must name the daemon's process\n", stderr);
    std::exit(2);
  }
  return std::atoi(pid);
}

double processor_seconds(pid_t pid) {
  clockid_t clock{};
  timespec spent{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0) {
    die("the processor time of a process");
  }
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
}

// acq_rel, pairs with wait(): what each did before is seen by who waits.
void Latch::count_down() {
  if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    futex_wake(&left_);
  }
}

void Latch::wait() const {
  // acquire, pairs with count_down().
  for (std::uint32_t left = left_.load(std::memory_order_acquire); left != 0;
       left = left_.load(std::memory_order_acquire)) {
    static_cast<void>(futex_wait(&left_, left));  // whatever ended it: look again
  }
}

// acquire, pairs with count_down().
bool Latch::is_open() const { return left_.load(std::memory_order_acquire) == 0; }

}  // namespace flowfs::bench
