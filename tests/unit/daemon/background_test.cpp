// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/background.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <functional>
#include <string>

namespace flowfs::daemon {
namespace {

int wait_for(pid_t child) {
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The exit code of a process that runs `body`.
int run(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(body());
  }
  return wait_for(child);
}

TEST(Background, the_starter_returns_0_when_the_daemon_is_ready) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Fd ours(ends[0]);
  Fd theirs(ends[1]);
  const int code = run([&]() -> int {
    auto background = Background::enter();
    background->ready();
    // The starter has gone or goes, and this process lives on, in a session of its own.
    const char done = ::getsid(0) == ::getpid() ? 'y' : 'n';
    ::_exit(::write(theirs.get(), &done, 1) == 1 ? 7 : 8);
  });
  EXPECT_EQ(code, 0);
  theirs.reset();
  char said = 0;
  ASSERT_EQ(::read(ours.get(), &said, 1), 1);
  EXPECT_EQ(said, 'y');
}

TEST(Background, the_starter_returns_the_daemons_failure) {
  EXPECT_EQ(run([] {
              auto background = Background::enter();
              return background ? 3 : 0;
            }),
            3);
}

TEST(Background, a_daemon_that_dies_or_ends_before_it_is_ready_is_a_failure) {
  EXPECT_EQ(run([] {
              auto background = Background::enter();
              ::kill(::getpid(), SIGKILL);
              return 0;
            }),
            1);
  EXPECT_EQ(run([] { return Background::enter().has_value() ? 0 : 1; }), 1);
}

bool is_null(int fd) {
  struct stat here{};
  struct stat null{};
  return ::fstat(fd, &here) == 0 && ::stat("/dev/null", &null) == 0 && here.st_rdev == null.st_rdev;
}

// After ready() a pipe is let go, and a file is kept.
TEST(Background, lets_go_of_pipes_and_keeps_files) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  std::array<int, 2> answer{};
  ASSERT_EQ(::pipe2(answer.data(), O_CLOEXEC), 0);
  const int code = run([&] {
    const Fd file(::open(testing::TempDir().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    ::dup2(ends[1], STDOUT_FILENO);
    ::dup2(file.get(), STDERR_FILENO);
    auto background = Background::enter();
    background->ready();
    const char said = is_null(STDOUT_FILENO) && !is_null(STDERR_FILENO) ? 'y' : 'n';
    return ::write(answer[1], &said, 1) == 1 ? 0 : 1;
  });
  EXPECT_EQ(code, 0);
  char said = 0;
  EXPECT_EQ(::read(answer[0], &said, 1), 1);
  EXPECT_EQ(said, 'y');
  for (const int fd : {ends[0], ends[1], answer[0], answer[1]}) {
    ::close(fd);
  }
}

TEST(Background, foreground_has_nobody_to_tell) {
  EXPECT_EQ(run([] {
              Background().ready();
              return 5;
            }),
            5);
}

TEST(ShedInheritance, leaves_a_clean_process) {
  EXPECT_EQ(run([] {
              const int extra = ::dup2(STDERR_FILENO, 200);
              ::close(STDIN_FILENO);
              if (extra != 200 || !shed_inheritance()) {
                return 1;
              }
              struct sigaction action{};
              ::sigaction(SIGPIPE, nullptr, &action);
              const bool clean = is_null(STDIN_FILENO) && ::fcntl(200, F_GETFD) == -1 &&
                                 std::filesystem::current_path() == "/" && ::umask(0) == 077 &&
                                 action.sa_handler == SIG_IGN;
              return clean ? 0 : 2;
            }),
            0);
}

TEST(ShedInheritance, closed_outputs_become_null_so_that_no_file_takes_their_number) {
  EXPECT_EQ(run([] {
              ::close(STDIN_FILENO);
              ::close(STDOUT_FILENO);
              ::close(STDERR_FILENO);
              return shed_inheritance() && is_null(0) && is_null(1) && is_null(2) &&
                             (::fcntl(1, F_GETFD) & FD_CLOEXEC) == 0
                         ? 0
                         : 1;
            }),
            0);
}

TEST(ShedInheritance, keeps_what_the_service_manager_passes) {
  EXPECT_EQ(run([] {
              ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
              ::setenv("LISTEN_FDS", "1", 1);
              ::dup2(STDERR_FILENO, 3);
              ::dup2(STDERR_FILENO, 4);
              return shed_inheritance() && ::fcntl(3, F_GETFD) >= 0 && ::fcntl(4, F_GETFD) < 0 ? 0
                                                                                               : 1;
            }),
            0);
}

}  // namespace
}  // namespace flowfs::daemon
