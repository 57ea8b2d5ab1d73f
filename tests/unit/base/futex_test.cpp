// SPDX-License-Identifier: BSD-3-Clause
#include "base/futex.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/fd.hpp"

namespace flowfs {
namespace {

TEST(Futex, does_not_sleep_on_a_word_that_differs) {
  const FutexWord word{1};
  EXPECT_EQ(futex_wait(&word, 0), FutexOutcome::value_changed);
}

TEST(Futex, gives_up_at_the_deadline_and_not_before) {
  const FutexWord word{1};
  const Instant deadline = Clock::now() + std::chrono::milliseconds(3);
  EXPECT_EQ(futex_wait(&word, 1, deadline), FutexOutcome::timed_out);
  EXPECT_GE(Clock::now(), deadline);
  EXPECT_EQ(futex_wait(&word, 1, deadline), FutexOutcome::timed_out);
}

TEST(Futex, wakes_nobody_where_nobody_waits) {
  const FutexWord word{1};
  EXPECT_EQ(futex_wake(&word), 0);
}

// Wakes until the sleeper has been one of those woken, which proves that it slept.
TEST(Futex, wakes_a_sleeper) {
  FutexWord word{0};
  FutexOutcome outcome = FutexOutcome::timed_out;
  std::thread sleeper([&] { outcome = futex_wait(&word, 0); });
  while (futex_wake(&word, 1) == 0) {
    std::this_thread::yield();
  }
  sleeper.join();
  EXPECT_EQ(outcome, FutexOutcome::woken);
}

TEST(Futex, wakes_only_those_whose_mask_it_shares) {
  FutexWord word{0};
  std::thread other([&] { static_cast<void>(futex_wait(&word, 0, kNever, 2)); });
  FutexOutcome outcome = FutexOutcome::timed_out;
  std::thread meant([&] { outcome = futex_wait(&word, 0, kNever, 1); });
  while (futex_wake(&word, 1, 1) == 0) {
    std::this_thread::yield();
  }
  meant.join();
  EXPECT_EQ(outcome, FutexOutcome::woken);
  EXPECT_EQ(futex_wake(&word, 1, 4), 0);
  while (futex_wake(&word, 1, 2) == 0) {
    std::this_thread::yield();
  }
  other.join();
}

TEST(Futex, wakes_another_process) {
  const auto fd = make_sealed_memfd("futex", 4096, 4096);
  ASSERT_TRUE(fd);
  const pid_t child = ::fork();
  const auto mapping = Mapping::map(*fd, 4096, Mapping::Access::read_only);
  if (child == 0) {
    const auto* word = reinterpret_cast<const FutexWord*>(mapping->data());
    ::_exit(futex_wait(word, 0) == FutexOutcome::woken ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  ASSERT_TRUE(mapping);
  const auto* word = reinterpret_cast<const FutexWord*>(mapping->data());
  while (futex_wake(word) == 0) {
    std::this_thread::yield();
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace flowfs
