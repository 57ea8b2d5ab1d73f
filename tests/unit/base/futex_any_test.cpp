// SPDX-License-Identifier: BSD-3-Clause
#include "base/futex_any.hpp"

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

namespace flowfs {
namespace {

constexpr Micros kPatience{20'000'000};

class FutexAny : public testing::Test {
 protected:
  void SetUp() override {
    const FutexExpectation wrong{.word = &words_[0], .value = 1};
    if (futex_wait_any({&wrong, 1}) == FutexAnyOutcome::unsupported) {
      GTEST_SKIP() << "this kernel has no futex_waitv";
    }
  }
  [[nodiscard]] std::vector<FutexExpectation> all() const {
    std::vector<FutexExpectation> expected;
    for (const FutexWord& word : words_) {
      expected.push_back({.word = &word, .value = 0});
    }
    return expected;
  }
  std::array<FutexWord, kMostFutexes> words_{};
};

TEST_F(FutexAny, does_not_sleep_where_a_word_has_changed) {
  words_[77] = 1;
  EXPECT_EQ(futex_wait_any(all(), later(Clock::now(), kPatience)), FutexAnyOutcome::changed);
}

TEST_F(FutexAny, is_woken_by_the_last_of_many) {
  std::thread waker([&] {
    words_.back().fetch_add(1);
    futex_wake(&words_.back());
  });
  while (words_.back() == 0) {
    EXPECT_EQ(futex_wait_any(all(), later(Clock::now(), kPatience)), FutexAnyOutcome::changed);
  }
  waker.join();
}

TEST_F(FutexAny, gives_up_at_the_deadline) {
  const Instant deadline = later(Clock::now(), Micros(2'000));
  FutexAnyOutcome outcome{};
  do {
    outcome = futex_wait_any(all(), deadline);
  } while (outcome == FutexAnyOutcome::changed);  // a signal
  EXPECT_EQ(outcome, FutexAnyOutcome::timed_out);
  EXPECT_GE(Clock::now(), deadline);
}

}  // namespace
}  // namespace flowfs
