// SPDX-License-Identifier: BSD-3-Clause
#include <poll.h>
#include <sys/socket.h>

#include <optional>
#include <vector>

#include "loop_fixture.hpp"

namespace flowfs::test {
namespace {

class LoopWatch : public LoopTest {};
FLOWFS_LOOP_TEST(LoopWatch);

TEST_P(LoopWatch, runs_for_an_event_and_then_for_the_next) {
  const Fd event = make_eventfd();
  int calls = 0;
  auto watch = loop_->watch(event.get(), POLLIN, [&](short revents) {
    EXPECT_EQ(revents, POLLIN);
    EXPECT_EQ(drain_eventfd(event), 1U);
    ++calls;
  });
  serve_due();
  EXPECT_EQ(calls, 0);
  signal_eventfd(event);
  ASSERT_TRUE(serve_until([&] { return calls == 1; }));
  signal_eventfd(event);
  ASSERT_TRUE(serve_until([&] { return calls == 2; }));
  serve_due();
  EXPECT_EQ(calls, 2);
}

TEST_P(LoopWatch, is_level_triggered) {
  const Fd event = make_eventfd(1);
  int calls = 0;
  auto watch = loop_->watch(event.get(), POLLIN, [&](short) {
    if (++calls == 5) {
      EXPECT_EQ(drain_eventfd(event), 1U);
    }
  });
  ASSERT_TRUE(serve_until([&] { return calls == 5; }));
  serve_due();
  EXPECT_EQ(calls, 5);
}

TEST_P(LoopWatch, tells_what_is_ready) {
  std::array<int, 2> ends{-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const Fd mine(ends[0]);
  Fd theirs(ends[1]);
  std::vector<short> seen;
  Loop::Watch watch;
  auto watch_once = [&] {
    watch = loop_->watch(mine.get(), POLLIN | POLLOUT, [&](short revents) {
      seen.push_back(revents);
      watch.reset();
    });
  };
  watch_once();
  ASSERT_TRUE(serve_until([&] { return seen.size() == 1; }));
  EXPECT_EQ(seen[0], POLLOUT);
  theirs.reset();
  watch_once();
  ASSERT_TRUE(serve_until([&] { return seen.size() == 2; }));
  EXPECT_EQ(seen[1], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
}

TEST_P(LoopWatch, reports_a_failed_poll_once) {
  Fd event = make_eventfd();
  const int number = event.get();
  event.reset();
  std::vector<short> seen;
  auto watch = loop_->watch(number, POLLIN, [&](short revents) { seen.push_back(revents); });
  ASSERT_TRUE(serve_until([&] { return !seen.empty(); }));
  serve_due();
  EXPECT_EQ(seen, std::vector<short>{POLLNVAL});
}

TEST_P(LoopWatch, may_be_destroyed_in_its_own_callback) {
  const Fd event = make_eventfd(1);
  Loop::Watch watch;
  int calls = 0;
  // The captured string is destroyed with the callback: its use afterwards would be seen by ASan.
  watch = loop_->watch(event.get(), POLLIN, [&, text = std::string(100, 'x')](short) {
    watch.reset();
    calls += static_cast<int>(text.size());
  });
  ASSERT_TRUE(serve_until([&] { return calls == 100; }));
  serve_due();
  EXPECT_EQ(calls, 100);
  EXPECT_FALSE(watch);
}

TEST_P(LoopWatch, may_be_replaced_in_its_own_callback) {
  const Fd event = make_eventfd(1);
  Loop::Watch watch;
  int first = 0;
  int second = 0;
  watch = loop_->watch(event.get(), POLLIN, [&](short) {
    ++first;
    watch = loop_->watch(event.get(), POLLIN, [&](short) {
      drain_eventfd(event);
      ++second;
    });
  });
  ASSERT_TRUE(serve_until([&] { return second == 1; }));
  serve_due();
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 1);
}

TEST_P(LoopWatch, destroyed_in_the_callback_of_another_does_not_run) {
  const Fd event = make_eventfd(1);
  Loop::Watch one;
  Loop::Watch other;
  int calls = 0;
  one = loop_->watch(event.get(), POLLIN, [&](short) {
    ++calls;
    one.reset();
    other.reset();
  });
  other = loop_->watch(event.get(), POLLIN, [&](short) {
    ++calls;
    other.reset();
    one.reset();
  });
  ASSERT_TRUE(serve_until([&] { return calls > 0; }));
  serve_due();
  EXPECT_EQ(calls, 1);
}

TEST_P(LoopWatch, destroyed_before_the_first_round_never_reaches_its_descriptor) {
  Fd event = make_eventfd(1);
  int calls = 0;
  auto watch = loop_->watch(event.get(), POLLIN, [&](short) { ++calls; });
  watch.reset();
  event.reset();
  const Fd same_number = make_eventfd(1);
  serve_due();
  EXPECT_EQ(calls, 0);
}

TEST_P(LoopWatch, destroys_what_its_callback_captured_at_once) {
  const Fd event = make_eventfd();
  auto captured = std::make_shared<int>(0);
  auto watch = loop_->watch(event.get(), POLLIN, [captured](short) { ++*captured; });
  loop_->run_once(Micros(0));
  EXPECT_EQ(captured.use_count(), 2);
  watch.reset();  // the kernel still has the request
  EXPECT_EQ(captured.use_count(), 1);
}

TEST_P(LoopWatch, ten_thousand_lose_nothing_to_full_queues) {
  constexpr std::size_t kCount = 10'000;
  const Fd event = make_eventfd();
  std::vector<Loop::Watch> watches(kCount);
  std::vector<int> calls(kCount);
  std::size_t total = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    watches[i] = loop_->watch(event.get(), POLLIN, [&, i](short) {
      ++calls[i];
      ++total;
      watches[i].reset();
    });
  }
  loop_->run_once(Micros(0));
  EXPECT_EQ(total, 0U);
  for (std::size_t i = 1; i < kCount; i += 2) {
    watches[i].reset();
  }
  loop_->run_once(Micros(0));
  signal_eventfd(event);  // every other one completes at once
  ASSERT_TRUE(serve_until([&] { return total == kCount / 2; }));
  serve_due();
  for (std::size_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(calls[i], i % 2 == 0 ? 1 : 0) << i;
  }
}

TEST_P(LoopWatch, is_inert_when_it_outlives_the_loop) {
  const Fd event = make_eventfd(1);
  auto captured = std::make_shared<int>(0);
  auto watch = loop_->watch(event.get(), POLLIN, [captured](short) { ++*captured; });
  auto timer = loop_->timer([captured] { ++*captured; });
  timer.arm(Clock::now());
  loop_.reset();
  EXPECT_EQ(captured.use_count(), 1);
  EXPECT_EQ(timer.deadline(), kNever);
  timer.arm(Clock::now());
  EXPECT_EQ(timer.deadline(), kNever);
  watch.reset();
  EXPECT_EQ(*captured, 0);
}

// The captured handles of a callback die with the loop, while it is being destroyed.
TEST_P(LoopWatch, may_be_owned_by_the_callback_of_another) {
  const Fd event = make_eventfd();
  auto inner = std::make_shared<Loop::Watch>();
  auto captured = std::make_shared<int>(0);
  auto outer = loop_->watch(event.get(), POLLIN, [inner](short) {});
  *inner = loop_->watch(event.get(), POLLIN, [captured](short) { ++*captured; });
  auto task_owned = std::make_shared<Loop::Watch>(
      loop_->watch(event.get(), POLLIN, [captured](short) { ++*captured; }));
  inner.reset();
  loop_->run_once(Micros(0));
  loop_->post([task_owned] {});
  task_owned.reset();
  loop_.reset();
  EXPECT_EQ(captured.use_count(), 1);
}

TEST_P(LoopWatch, can_be_moved_while_it_polls) {
  const Fd event = make_eventfd();
  int calls = 0;
  Loop::Watch from = loop_->watch(event.get(), POLLIN, [&](short) {
    drain_eventfd(event);
    ++calls;
  });
  loop_->run_once(Micros(0));
  const Loop::Watch to = std::move(from);
  signal_eventfd(event);
  ASSERT_TRUE(serve_until([&] { return calls == 1; }));
}

}  // namespace
}  // namespace flowfs::test
