// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <sys/wait.h>

#include <deque>
#include <optional>
#include <vector>

#include "loop_fixture.hpp"

namespace flowfs::test {
namespace {

class LoopFutex : public LoopTest {
 protected:
  static void set_and_wake(FutexWord& word, std::uint32_t value) {
    word.store(value, std::memory_order_release);
    flowfs::futex_wake(&word);
  }

  FutexWord word_{1};
  int calls_ = 0;
};
FLOWFS_LOOP_TEST(LoopFutex);

TEST_P(LoopFutex, runs_in_the_ring_where_the_kernel_can) {
  if (GetParam() == Loop::Features::oldest) {
    EXPECT_FALSE(loop_->futex_in_ring());
  } else if (!loop_->futex_in_ring()) {
    GTEST_SKIP() << "this kernel has no IORING_OP_FUTEX_WAIT (Linux 6.7)";
  }
}

TEST_P(LoopFutex, runs_at_once_for_a_word_that_already_differs) {
  auto wait = loop_->futex_wait(&word_, 0, {}, [&] { ++calls_; });
  EXPECT_TRUE(wait.pending());
  ASSERT_TRUE(serve_until([&] { return calls_ == 1; }));
  EXPECT_FALSE(wait.pending());
}

TEST_P(LoopFutex, runs_once_for_a_wake) {
  auto wait = loop_->futex_wait(&word_, 1, {}, [&] { ++calls_; });
  serve_due();
  EXPECT_EQ(calls_, 0);
  EXPECT_TRUE(wait.pending());
  set_and_wake(word_, 2);
  ASSERT_TRUE(serve_until([&] { return calls_ == 1; }));
  set_and_wake(word_, 3);
  serve_due();
  EXPECT_EQ(calls_, 1);
}

TEST_P(LoopFutex, wakes_from_another_process_through_a_read_only_mapping) {
  const auto fd = make_sealed_memfd("futex", 4096, 4096);
  ASSERT_TRUE(fd);
  const std::string path = "/proc/self/fd/" + std::to_string(fd->get());
  const Fd read_only(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(read_only);
  const auto mapping = Mapping::map(read_only, 4096, Mapping::Access::read_only);
  ASSERT_TRUE(mapping);
  const auto* word = reinterpret_cast<const FutexWord*>(mapping->data());
  auto wait = loop_->futex_wait(word, 0, {}, [&] { ++calls_; });
  loop_->run_once(Micros(0));

  const pid_t child = ::fork();
  if (child == 0) {
    const auto theirs = Mapping::map(*fd, 4096, Mapping::Access::read_write);
    if (!theirs) {
      ::_exit(1);
    }
    set_and_wake(*reinterpret_cast<FutexWord*>(theirs->data()), 7);
    ::_exit(0);
  }
  ASSERT_GT(child, 0);
  EXPECT_TRUE(serve_until([&] { return calls_ == 1; }));
  EXPECT_EQ(word->load(std::memory_order_acquire), 7U);
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_P(LoopFutex, waits_again_from_its_callback) {
  std::optional<Loop::FutexWait> wait;
  std::function<void()> next = [&] {
    wait = loop_->futex_wait(&word_, word_.load(std::memory_order_acquire), {}, [&] {
      ++calls_;
      next();
    });
  };
  next();
  for (std::uint32_t i = 1; i <= 100; ++i) {
    set_and_wake(word_, 1 + i);
    ASSERT_TRUE(serve_until([&] { return calls_ == static_cast<int>(i); }));
  }
}

TEST_P(LoopFutex, destroyed_does_not_run_and_then_lets_go_of_the_memory) {
  auto owner = std::make_shared<int>(0);
  const std::weak_ptr<int> alive = owner;
  auto wait = loop_->futex_wait(&word_, 1, std::move(owner), [&] { ++calls_; });
  loop_->run_once(Micros(0));
  wait.reset();
  EXPECT_FALSE(wait.pending());
  set_and_wake(word_, 2);
  ASSERT_TRUE(serve_until([&] { return alive.expired(); }));
  EXPECT_EQ(calls_, 0);
}

TEST_P(LoopFutex, destroyed_in_the_callback_of_another_does_not_run) {
  std::optional<Loop::FutexWait> one;
  std::optional<Loop::FutexWait> other;
  one = loop_->futex_wait(&word_, 1, {}, [&] {
    ++calls_;
    one.reset();
    other.reset();
  });
  other = loop_->futex_wait(&word_, 1, {}, [&] {
    ++calls_;
    other.reset();
    one.reset();
  });
  loop_->run_once(Micros(0));
  set_and_wake(word_, 2);
  ASSERT_TRUE(serve_until([&] { return calls_ > 0; }));
  serve_due();
  EXPECT_EQ(calls_, 1);
}

TEST_P(LoopFutex, thousands_wait_wake_and_are_destroyed) {
  const std::size_t count = GetParam() == Loop::Features::newest ? 10'000 : 1'000;
  std::deque<FutexWord> words(count);
  std::vector<Loop::FutexWait> waits;
  std::vector<int> calls(count);
  std::size_t total = 0;
  auto owner = std::make_shared<int>(0);
  for (std::size_t i = 0; i < count; ++i) {
    waits.push_back(loop_->futex_wait(&words[i], 0, owner, [&, i] {
      ++calls[i];
      ++total;
    }));
  }
  loop_->run_once(Micros(0));
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 3 == 0) {
      set_and_wake(words[i], 1);
    } else if (i % 3 == 1) {
      waits[i].reset();
    }
  }
  const std::size_t expected = (count + 2) / 3;
  ASSERT_TRUE(serve_until([&] { return total == expected; }));
  serve_due();
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(calls[i], i % 3 == 0 ? 1 : 0) << i;
    ASSERT_EQ(waits[i].pending(), i % 3 == 2) << i;
  }
  loop_.reset();  // the last third is still waiting
  EXPECT_EQ(owner.use_count(), 1);
  EXPECT_EQ(total, expected);
}

}  // namespace
}  // namespace flowfs::test
