// SPDX-License-Identifier: BSD-3-Clause
#include <chrono>
#include <optional>
#include <vector>

#include "loop_fixture.hpp"

namespace flowfs::test {
namespace {

using std::chrono::milliseconds;

class LoopTimer : public LoopTest {};
FLOWFS_LOOP_TEST(LoopTimer);

TEST_P(LoopTimer, fires_once_and_not_early) {
  std::vector<Instant> fired;
  auto timer = loop_->timer([&] { fired.push_back(Clock::now()); });
  const Instant deadline = Clock::now() + milliseconds(5);
  timer.arm(deadline);
  EXPECT_EQ(timer.deadline(), deadline);
  ASSERT_TRUE(serve_until([&] { return !fired.empty(); }));
  EXPECT_GE(fired[0], deadline);
  EXPECT_EQ(timer.deadline(), kNever);
  serve_due();
  EXPECT_EQ(fired.size(), 1U);
}

TEST_P(LoopTimer, fire_in_the_order_of_deadlines_and_then_of_arming) {
  const Instant now = Clock::now();
  std::vector<int> order;
  auto make = [&](int number, Instant deadline) {
    auto timer = loop_->timer([&order, number] { order.push_back(number); });
    timer.arm(deadline);
    return timer;
  };
  const auto c = make(3, now + milliseconds(2));
  const auto a = make(1, now - milliseconds(2));
  const auto d = make(4, now + milliseconds(2));
  const auto b = make(2, now - milliseconds(1));
  ASSERT_TRUE(serve_until([&] { return order.size() == 4; }));
  EXPECT_EQ(order, (std::vector{1, 2, 3, 4}));
}

TEST_P(LoopTimer, moves_to_a_later_and_to_an_earlier_deadline) {
  int calls = 0;
  auto timer = loop_->timer([&] { ++calls; });
  timer.arm(Clock::now() - milliseconds(1));
  timer.arm(later(Clock::now(), kPatience));
  serve_due();
  EXPECT_EQ(calls, 0);
  timer.arm(Clock::now());
  ASSERT_TRUE(serve_until([&] { return calls == 1; }));
}

TEST_P(LoopTimer, disarmed_or_destroyed_by_one_that_is_due_at_the_same_time_does_not_fire) {
  const Instant due = Clock::now() - milliseconds(1);
  int calls = 0;
  Loop::Timer disarmed = loop_->timer([&] { ++calls; });
  std::optional<Loop::Timer> destroyed = loop_->timer([&] { ++calls; });
  Loop::Timer first = loop_->timer([&] {
    EXPECT_EQ(disarmed.deadline(), due);
    disarmed.disarm();
    destroyed.reset();
    ++calls;
  });
  first.arm(due);
  disarmed.arm(due);
  destroyed->arm(due);
  ASSERT_TRUE(serve_until([&] { return calls > 0; }));
  serve_due();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(disarmed.deadline(), kNever);
}

TEST_P(LoopTimer, may_be_destroyed_in_its_own_callback) {
  std::optional<Loop::Timer> timer;
  std::size_t seen = 0;
  timer = loop_->timer([&, text = std::string(100, 'x')] {
    timer.reset();
    seen = text.size();
  });
  timer->arm(Clock::now());
  ASSERT_TRUE(serve_until([&] { return seen != 0; }));
  EXPECT_EQ(seen, 100U);
}

TEST_P(LoopTimer, rearmed_in_the_past_starves_neither_timers_nor_descriptors) {
  int again = 0;
  bool timer_ran = false;
  bool task_ran = false;
  Loop::Timer greedy;
  greedy = loop_->timer([&] {
    ++again;
    greedy.arm(Instant::min() + milliseconds(1));
  });
  greedy.arm(Clock::now());
  auto timer = loop_->timer([&] { timer_ran = true; });
  timer.arm(Clock::now());
  loop_->post([&] { task_ran = true; });
  ASSERT_TRUE(serve_until([&] { return timer_ran && task_ran && again >= 10; }));
}

TEST_P(LoopTimer, lets_the_loop_sleep_until_the_deadline) {
  serve_due();
  bool fired = false;
  auto timer = loop_->timer([&] { fired = true; });
  timer.arm(Clock::now() + milliseconds(50));
  const std::uint64_t before = loop_->rounds();
  ASSERT_TRUE(serve_until([&] { return fired; }));
  EXPECT_LE(loop_->rounds() - before, 2U);
}

TEST_P(LoopTimer, run_once_waits_no_longer_than_it_is_told) {
  auto timer = loop_->timer([] { FAIL() << "an hour has not passed"; });
  timer.arm(Clock::now() + std::chrono::hours(1));
  const Instant start = Clock::now();
  loop_->run_once(Micros(2000));
  EXPECT_GE(Clock::now() - start, Micros(2000));
  EXPECT_LT(Clock::now() - start, std::chrono::minutes(30));
}

}  // namespace
}  // namespace flowfs::test
