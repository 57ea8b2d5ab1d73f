// SPDX-License-Identifier: BSD-3-Clause
// A loop for a test, made both with all that the kernel has and without the newer half of it.
#pragma once

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>

#include "base/loop.hpp"

namespace flowfs::test {

inline constexpr Micros kPatience{30'000'000};

class LoopTest : public ::testing::TestWithParam<Loop::Features> {
 protected:
  // Few entries, so that the queues run full in earnest.
  static std::unique_ptr<Loop> make_loop(unsigned entries = 8) {
    auto loop = Loop::create(entries, GetParam());
    EXPECT_TRUE(loop.has_value()) << loop.error().message();
    return std::move(*loop);
  }

  // Serves until `condition` holds; false when it never does.
  template <typename Condition>
  bool serve_until(Condition condition) {
    const Instant deadline = later(Clock::now(), kPatience);
    while (!condition() && Clock::now() < deadline) {
      loop_->run_once(Micros(1'000'000));
    }
    return condition();
  }

  // Serves all that is already due; what a callback would do wrongly, it has done then.
  void serve_due() {
    bool reached = false;
    loop_->post([&] { reached = true; });
    ASSERT_TRUE(serve_until([&] { return reached; }));
    for (int i = 0; i < 3; ++i) {
      loop_->run_once(Micros(0));
    }
  }

  std::unique_ptr<Loop> loop_ = make_loop();
};

inline std::string features_name(const ::testing::TestParamInfo<Loop::Features>& info) {
  return info.param == Loop::Features::newest ? "newest" : "oldest";
}

#define FLOWFS_LOOP_TEST(suite)                                                               \
  INSTANTIATE_TEST_SUITE_P(features, suite,                                                   \
                           ::testing::Values(Loop::Features::newest, Loop::Features::oldest), \
                           ::flowfs::test::features_name)

inline Fd make_eventfd(unsigned count = 0) {
  return Fd(::eventfd(count, EFD_CLOEXEC | EFD_NONBLOCK));
}

inline void signal_eventfd(const Fd& fd) {
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(fd.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
}

inline std::uint64_t drain_eventfd(const Fd& fd) {
  std::uint64_t count = 0;
  return ::read(fd.get(), &count, sizeof count) == static_cast<ssize_t>(sizeof count) ? count : 0;
}

struct Pipe {
  Fd read_end;
  Fd write_end;
};

inline Pipe make_pipe(int flags) {
  std::array<int, 2> ends{-1, -1};
  EXPECT_EQ(::pipe2(ends.data(), flags), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

}  // namespace flowfs::test
