// SPDX-License-Identifier: BSD-3-Clause
#include <poll.h>

#include <chrono>
#include <thread>
#include <vector>

#include "loop_fixture.hpp"

namespace flowfs::test {
namespace {

class LoopPost : public LoopTest {};
FLOWFS_LOOP_TEST(LoopPost);

TEST_P(LoopPost, runs_every_task_of_every_thread_in_its_order) {
  constexpr int kThreads = 4;
  constexpr int kTasks = 5'000;
  std::array<int, kThreads> next{};
  int ended = 0;
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int task = 0; task < kTasks; ++task) {
        loop_->post([&, thread, task] {
          EXPECT_EQ(next[thread], task);
          if (++next[thread] == kTasks && ++ended == kThreads) {
            loop_->stop();
          }
        });
      }
    });
  }
  loop_->run();
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(ended, kThreads);
}

TEST_P(LoopPost, runs_what_a_task_posts_and_never_inside_of_it) {
  std::vector<int> order;
  loop_->post([&] {
    loop_->post([&] {
      order.push_back(2);
      loop_->stop();
    });
    order.push_back(1);
  });
  loop_->run();
  EXPECT_EQ(order, (std::vector{1, 2}));
}

TEST_P(LoopPost, a_task_that_posts_itself_starves_nothing) {
  const Fd event = make_eventfd(1);
  bool watched = false;
  bool fired = false;
  auto watch = loop_->watch(event.get(), POLLIN, [&](short) { watched = true; });
  auto timer = loop_->timer([&] { fired = true; });
  timer.arm(Clock::now() + std::chrono::milliseconds(1));
  std::function<void()> again = [&] { loop_->post(again); };
  again();
  ASSERT_TRUE(serve_until([&] { return watched && fired; }));
}

TEST_P(LoopPost, stop_before_run_ends_it_at_once_and_the_next_run_continues) {
  loop_->stop();
  loop_->run();
  int calls = 0;
  loop_->post([&] {
    ++calls;
    loop_->stop();
  });
  loop_->run();
  loop_->post([&] {
    ++calls;
    loop_->stop();
  });
  loop_->run();
  EXPECT_EQ(calls, 2);
}

// Made and filled here, run there; destroyed here once that thread has ended, with requests left.
TEST_P(LoopPost, belongs_to_the_thread_that_runs_it) {
  const Fd event = make_eventfd(1);
  FutexWord word{0};
  auto owner = std::make_shared<int>(0);
  std::thread::id ran_on;
  Loop::Watch watch;
  watch = loop_->watch(event.get(), POLLIN, [&](short) {
    ran_on = std::this_thread::get_id();
    drain_eventfd(event);
    loop_->post([&] { loop_->stop(); });
  });
  auto wait = loop_->futex_wait(&word, 0, owner, [] { FAIL() << "nobody wakes it"; });
  std::thread thread([&] { loop_->run(); });
  const std::thread::id id = thread.get_id();
  thread.join();
  EXPECT_EQ(ran_on, id);
  loop_.reset();
  EXPECT_EQ(owner.use_count(), 1);
}

TEST_P(LoopPost, an_idle_loop_does_not_wake_up) {
  std::thread thread([&] { loop_->run(); });
  std::array<std::uint64_t, 2> rounds{};
  FutexWord seen{0};
  for (std::uint32_t i = 0; i < 2; ++i) {
    loop_->post([&, i] {
      rounds.at(i) = loop_->rounds();
      seen.store(i + 1, std::memory_order_release);  // pairs with the acquire below
      futex_wake(&seen);
    });
    while (seen.load(std::memory_order_acquire) == i) {
      (void)futex_wait(&seen, i);
    }
    // Time in which a loop that ticks would be found out; a slow machine only makes it longer.
    (void)futex_wait(&seen, i + 1, Clock::now() + std::chrono::milliseconds(100));
  }
  loop_->post([&] { loop_->stop(); });
  thread.join();
  EXPECT_LE(rounds[1] - rounds[0], 1U);
}

TEST_P(LoopPost, destroys_tasks_that_never_ran) {
  auto owner = std::make_shared<int>(0);
  loop_->post([owner] { ++*owner; });
  loop_.reset();
  EXPECT_EQ(owner.use_count(), 1);
  EXPECT_EQ(*owner, 0);
}

TEST(LoopCreate, fails_where_it_cannot) {
  const auto loop = Loop::create(0);
  ASSERT_FALSE(loop);
  EXPECT_EQ(loop.error().error, EINVAL);
}

}  // namespace
}  // namespace flowfs::test
