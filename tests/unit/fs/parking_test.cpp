// SPDX-License-Identifier: BSD-3-Clause
#include "fs/parking.hpp"

#include <gmock/gmock.h>

#include <array>
#include <memory>
#include <optional>

#include "fake_kernel.hpp"

namespace flowfs::fs {
namespace {

using registry::Resource;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr uid_t kAlice = 61001;
constexpr uid_t kBob = 61002;
constexpr Micros kNoLimit = Micros::max();
constexpr Micros kSoon{1'000};

registry::Users::Config allow(std::uint64_t held) {
  registry::Users::Config config = registry::Users::Config::defaults();
  config.per_uid[static_cast<std::size_t>(Resource::held)] = held;
  return config;
}

class ParkingTest : public testing::Test {
 protected:
  // Whether the request was parked.
  bool park(Waits& line, std::uint64_t unique, uid_t uid = kAlice, File* file = nullptr,
            int late_error = EINTR) {
    Parked parked{.request = {.raw = kernel_.read(unique, uid), .op = Op::read}};
    parked.file = file;
    parked.late_error = late_error;
    return parking_->park(line, std::move(parked));
  }
  // From here on no request is held for longer.
  void limit_to(Micros limit) { parking_.emplace(*loop_, users_, replies_, limit); }
  void serve_until(std::size_t answers) {
    while (kernel_.answers().size() < answers) {
      loop_->run_once(Micros(1'000'000));
    }
  }

  std::unique_ptr<Loop> loop_ = std::move(*Loop::create());
  registry::Users users_{allow(3)};
  RequestCounters counters_;
  Replies replies_{counters_};
  FakeKernel kernel_;
  std::optional<Parking> parking_{std::in_place, *loop_, users_, replies_, kNoLimit};
};

TEST_F(ParkingTest, gives_back_first_in_first_out) {
  Waits line(*parking_);
  ASSERT_TRUE(park(line, 10));
  ASSERT_TRUE(park(line, 12));
  ASSERT_TRUE(park(line, 14));
  EXPECT_EQ(line.size(), 3U);
  EXPECT_EQ(parking_->count(), 3U);
  EXPECT_THAT(kernel_.answers(), IsEmpty());
  while (!line.empty()) {
    replies_.error(line.take_front().request, 0);
  }
  EXPECT_THAT(kernel_.answers(), ElementsAre(Answer{10, 0}, Answer{12, 0}, Answer{14, 0}));
  EXPECT_EQ(parking_->count(), 0U);
  EXPECT_EQ(line.waits(), 3U);
  EXPECT_EQ(line.wake_ups(), 3U);
}

TEST_F(ParkingTest, refuses_whom_it_cannot_charge) {
  Waits line(*parking_);
  for (const std::uint64_t unique : {10U, 12U, 14U}) {
    ASSERT_TRUE(park(line, unique));
  }
  EXPECT_FALSE(park(line, 16));
  EXPECT_THAT(kernel_.answers(), ElementsAre(Answer{16, EDQUOT}));
  EXPECT_EQ(line.size(), 3U);
  EXPECT_TRUE(park(line, 18, kBob)) << "another user's limit is his own";
  replies_.error(line.take_front().request, 0);
  EXPECT_TRUE(park(line, 20)) << "what has been answered is charged no longer";
}

TEST_F(ParkingTest, charges_exactly_while_it_holds) {
  {
    Waits line(*parking_);
    park(line, 10);
    park(line, 12, kBob);
    EXPECT_EQ(users_.total(Resource::held), 2U);
    replies_.error(line.take_front().request, 0);
    EXPECT_EQ(users_.used(kAlice, Resource::held), 0U);
    EXPECT_EQ(users_.used(kBob, Resource::held), 1U);
  }
  EXPECT_EQ(users_.total(Resource::held), 0U);
}

TEST_F(ParkingTest, an_interrupt_ends_that_one_at_once) {
  int cancelled = 0;
  Waits line(*parking_, [&] { ++cancelled; });
  park(line, 10);
  park(line, 12);
  kernel_.interrupt(12);
  EXPECT_THAT(kernel_.answers(), ElementsAre(Answer{12, EINTR}));
  EXPECT_EQ(cancelled, 1);
  EXPECT_EQ(parking_->interrupted(), 1U);
  EXPECT_EQ(line.size(), 1U);
  EXPECT_EQ(users_.total(Resource::held), 1U);
}

TEST_F(ParkingTest, a_request_interrupted_before_is_not_held) {
  Waits line(*parking_);
  kernel_.interrupt(10);
  EXPECT_TRUE(park(line, 10));
  EXPECT_THAT(kernel_.answers(), ElementsAre(Answer{10, EINTR}));
  EXPECT_TRUE(line.empty());
  EXPECT_EQ(users_.total(Resource::held), 0U);
}

TEST_F(ParkingTest, ends_each_at_the_limit_with_the_error_of_its_kind) {
  limit_to(kSoon);
  int cancelled = 0;
  Waits line(*parking_, [&] { ++cancelled; });
  Waits other(*parking_);
  park(line, 10);
  park(other, 12, kBob, nullptr, ETIMEDOUT);
  park(line, 14);
  serve_until(3);
  EXPECT_THAT(kernel_.answers(),
              ElementsAre(Answer{10, EINTR}, Answer{12, ETIMEDOUT}, Answer{14, EINTR}));
  EXPECT_EQ(cancelled, 2);
  EXPECT_EQ(parking_->count(), 0U);
  EXPECT_EQ(parking_->interrupted(), 0U) << "nobody asked for it";
}

TEST_F(ParkingTest, the_limit_counts_from_each_ones_own_start) {
  limit_to(Micros(50'000));
  Waits line(*parking_);
  const Instant start = Clock::now();
  park(line, 10);
  park(line, 12);
  replies_.error(line.take_front().request, 0);  // its deadline goes with it
  serve_until(2);
  EXPECT_THAT(kernel_.answers(), ElementsAre(Answer{10, 0}, Answer{12, EINTR}));
  EXPECT_GE(Clock::now() - start, Micros(50'000));
  park(line, 14);
  serve_until(3);
  EXPECT_EQ(kernel_.answers().back(), (Answer{14, EINTR})) << "the timer is armed again";
}

TEST_F(ParkingTest, failing_all_answers_in_order_and_tells_of_each) {
  int cancelled = 0;
  Waits line(*parking_, [&] { ++cancelled; });
  park(line, 10);
  park(line, 12);
  line.fail_all(EPIPE);
  EXPECT_THAT(kernel_.answers(), ElementsAre(Answer{10, EPIPE}, Answer{12, EPIPE}));
  EXPECT_EQ(cancelled, 2);
  EXPECT_TRUE(line.empty());
}

TEST_F(ParkingTest, failing_those_of_one_descriptor_leaves_the_others) {
  // Only their addresses matter.
  std::array<std::byte, 2> places{};
  File* const one = reinterpret_cast<File*>(places.data());
  File* const two = reinterpret_cast<File*>(places.data() + 1);
  Waits line(*parking_);
  park(line, 10, kAlice, one);
  park(line, 12, kAlice, two);
  park(line, 14, kAlice, one);
  line.fail_of(one, EBADF);
  EXPECT_THAT(kernel_.answers(), ElementsAre(Answer{10, EBADF}, Answer{14, EBADF}));
  EXPECT_EQ(line.size(), 1U);
}

TEST_F(ParkingTest, a_line_that_goes_aborts_what_is_in_it) {
  {
    Waits line(*parking_);
    park(line, 10);
    park(line, 12);
  }
  EXPECT_THAT(kernel_.answers(), ElementsAre(Answer{10, ECONNABORTED}, Answer{12, ECONNABORTED}));
  EXPECT_EQ(parking_->count(), 0U);
}

TEST_F(ParkingTest, a_line_may_go_while_it_is_told_of_an_interrupt) {
  std::unique_ptr<Waits> line;
  line = std::make_unique<Waits>(*parking_, [&] { line.reset(); });
  park(*line, 10);
  kernel_.interrupt(10);
  EXPECT_EQ(line, nullptr);
  EXPECT_THAT(kernel_.answers(), ElementsAre(Answer{10, EINTR}));
}

}  // namespace
}  // namespace flowfs::fs
