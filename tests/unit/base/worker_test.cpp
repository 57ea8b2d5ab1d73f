// SPDX-License-Identifier: BSD-3-Clause
#include "base/worker.hpp"

#include <algorithm>
#include <csignal>
#include <latch>
#include <thread>
#include <vector>

#include "loop_fixture.hpp"

namespace flowfs::test {
namespace {

class WorkersTest : public LoopTest {};
FLOWFS_LOOP_TEST(WorkersTest);

TEST_P(WorkersTest, runs_jobs_elsewhere_and_their_ends_here_in_order) {
  Workers workers(*loop_, "test-worker");
  std::vector<int> ran;  // the worker's until the matching end has been seen
  std::vector<int> ended;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(workers.try_submit(
        [&ran, i, here = std::this_thread::get_id()] {
          EXPECT_NE(std::this_thread::get_id(), here);
          ran.push_back(i);
        },
        [&ended, i, here = std::this_thread::get_id()] {
          EXPECT_EQ(std::this_thread::get_id(), here);
          ended.push_back(i);
        }));
  }
  ASSERT_TRUE(serve_until([&] { return ended.size() == 100; }));
  EXPECT_EQ(ran, ended);
  EXPECT_TRUE(std::is_sorted(ended.begin(), ended.end()));
}

TEST_P(WorkersTest, refuses_what_exceeds_the_limit) {
  std::latch begun(1);
  std::latch may_end(1);
  int ended = 0;
  Workers workers(*loop_, "test-worker", 1, 2);
  ASSERT_TRUE(workers.try_submit(
      [&] {
        begun.count_down();
        may_end.wait();
      },
      [&] { ++ended; }));
  begun.wait();
  EXPECT_TRUE(workers.try_submit([] {}, [&] { ++ended; }));
  EXPECT_TRUE(workers.try_submit([] {}, [&] { ++ended; }));
  EXPECT_FALSE(workers.try_submit([] {}, [&] { ++ended; }));
  EXPECT_EQ(workers.waiting(), 2U);
  may_end.count_down();
  ASSERT_TRUE(serve_until([&] { return ended == 3; }));
  EXPECT_EQ(workers.waiting(), 0U);
}

TEST_P(WorkersTest, several_threads_work_at_once) {
  std::latch together(3);
  int ended = 0;
  Workers workers(*loop_, "test-worker", 3);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(workers.try_submit([&] { together.arrive_and_wait(); }, [&] { ++ended; }));
  }
  ASSERT_TRUE(serve_until([&] { return ended == 3; }));
}

TEST_P(WorkersTest, no_end_runs_after_destruction) {
  int ended = 0;
  std::latch begun(1);
  {
    Workers workers(*loop_, "test-worker");
    ASSERT_TRUE(workers.try_submit([&] { begun.count_down(); }, [&] { ++ended; }));
    begun.wait();
  }
  serve_due();
  EXPECT_EQ(ended, 0);
}

TEST_P(WorkersTest, threads_take_no_signals) {
  Workers workers(*loop_, "test-worker");
  sigset_t mask;
  sigemptyset(&mask);
  bool ended = false;
  ASSERT_TRUE(workers.try_submit([&] { pthread_sigmask(SIG_SETMASK, nullptr, &mask); },
                                 [&] { ended = true; }));
  ASSERT_TRUE(serve_until([&] { return ended; }));
  EXPECT_EQ(sigismember(&mask, SIGTERM), 1);
  EXPECT_EQ(sigismember(&mask, SIGCHLD), 1);
}

}  // namespace
}  // namespace flowfs::test
