// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <sys/wait.h>

#include <csignal>
#include <vector>

#include "loop_fixture.hpp"

namespace flowfs::test {
namespace {

class LoopProcess : public LoopTest {
 protected:
  void SetUp() override { pthread_sigmask(SIG_SETMASK, nullptr, &mask_); }
  void TearDown() override { pthread_sigmask(SIG_SETMASK, &mask_, nullptr); }

  // A child that ends with `code` when `gate`'s write end is closed.
  static pid_t start_child(const Pipe& gate, int code) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(gate.write_end.get());
      char byte = 0;
      ::_exit(::read(gate.read_end.get(), &byte, 1) == 0 ? code : 99);
    }
    return child;
  }

 private:
  sigset_t mask_{};
};
FLOWFS_LOOP_TEST(LoopProcess);

TEST_P(LoopProcess, delivers_signals) {
  std::vector<int> seen;
  const std::array signals{SIGUSR1, SIGUSR2};
  auto watch = loop_->signals(signals, [&](int signal) { seen.push_back(signal); });
  ASSERT_TRUE(watch) << watch.error().message();
  serve_due();
  EXPECT_TRUE(seen.empty());
  ASSERT_EQ(pthread_kill(pthread_self(), SIGUSR2), 0);
  ASSERT_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
  ASSERT_TRUE(serve_until([&] { return seen.size() == 2; }));
  EXPECT_EQ(seen, (std::vector{SIGUSR1, SIGUSR2}));  // the kernel's order: lowest first
}

TEST_P(LoopProcess, a_signal_may_end_the_watch) {
  int calls = 0;
  Loop::Watch watch;
  auto made = loop_->signals(std::array{SIGUSR1, SIGUSR2}, [&](int) {
    ++calls;
    watch.reset();
  });
  ASSERT_TRUE(made);
  watch = std::move(*made);
  ASSERT_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
  ASSERT_EQ(pthread_kill(pthread_self(), SIGUSR2), 0);
  ASSERT_TRUE(serve_until([&] { return calls == 1; }));
  serve_due();
  EXPECT_EQ(calls, 1);
  // Still blocked: taken here, or it would end the test when the mask is restored.
  sigset_t pending;
  sigemptyset(&pending);
  sigaddset(&pending, SIGUSR2);
  int taken = 0;
  EXPECT_EQ(sigwait(&pending, &taken), 0);
  EXPECT_EQ(taken, SIGUSR2);
}

TEST_P(LoopProcess, refuses_a_signal_that_does_not_exist) {
  const auto watch = loop_->signals(std::array{100'000}, [](int) {});
  ASSERT_FALSE(watch);
  EXPECT_EQ(watch.error().error, EINVAL);
}

TEST_P(LoopProcess, tells_the_status_of_a_child_once_and_reaps_it) {
  Pipe gate = make_pipe(O_CLOEXEC);
  const pid_t child = start_child(gate, 7);
  ASSERT_GT(child, 0);
  std::vector<int> statuses;
  auto watch = loop_->child(child, [&](int status) { statuses.push_back(status); });
  ASSERT_TRUE(watch) << watch.error().message();
  serve_due();
  EXPECT_TRUE(statuses.empty());
  gate.write_end.reset();
  ASSERT_TRUE(serve_until([&] { return !statuses.empty(); }));
  serve_due();
  ASSERT_EQ(statuses.size(), 1U);
  EXPECT_TRUE(WIFEXITED(statuses[0]));
  EXPECT_EQ(WEXITSTATUS(statuses[0]), 7);
  EXPECT_EQ(::waitpid(child, nullptr, 0), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_P(LoopProcess, tells_of_a_child_that_has_already_died) {
  const Pipe gate = make_pipe(O_CLOEXEC);
  const pid_t child = start_child(gate, 0);
  ASSERT_GT(child, 0);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  int seen = 0;
  auto watch = loop_->child(child, [&](int status) { seen = status; });
  ASSERT_TRUE(watch) << watch.error().message();
  ASSERT_TRUE(serve_until([&] { return seen != 0; }));
  EXPECT_TRUE(WIFSIGNALED(seen));
  EXPECT_EQ(WTERMSIG(seen), SIGKILL);
}

TEST_P(LoopProcess, says_when_somebody_else_reaped_the_child) {
  Pipe gate = make_pipe(O_CLOEXEC);
  const pid_t child = start_child(gate, 0);
  ASSERT_GT(child, 0);
  int seen = 0;
  auto watch = loop_->child(child, [&](int status) { seen = status; });
  ASSERT_TRUE(watch);
  gate.write_end.reset();
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ASSERT_TRUE(serve_until([&] { return seen != 0; }));
  EXPECT_EQ(seen, -1);
}

TEST_P(LoopProcess, refuses_what_is_no_child) {
  for (const pid_t pid : {::getppid(), ::getpid(), 0, -1}) {
    const auto watch = loop_->child(pid, [](int) {});
    ASSERT_FALSE(watch) << pid;
    EXPECT_EQ(watch.error().error, ECHILD);
  }
}

}  // namespace
}  // namespace flowfs::test
