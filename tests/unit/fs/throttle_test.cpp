// SPDX-License-Identifier: BSD-3-Clause
#include "fs/throttle.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "fs/fuse_api.hpp"
#include "registry/types.hpp"

namespace flowfs::fs {
namespace {

constexpr std::uint64_t kRate = 50;  // a second: five at once, then one every 20 ms
constexpr std::uint64_t kSlow = 1;   // twenty requests take longer than any test is held up
constexpr uid_t kAlice = 61001;
constexpr uid_t kBob = 61002;

std::vector<std::byte> request(std::uint32_t opcode, uid_t uid, std::uint64_t unique) {
  fuse_in_header header{};
  header.len = sizeof header;
  header.opcode = opcode;
  header.unique = unique;
  header.uid = uid;
  std::vector<std::byte> bytes(sizeof header);
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

std::vector<std::byte> interrupt(std::uint64_t unique) {
  std::vector<std::byte> bytes = request(FUSE_INTERRUPT, 0, unique | 1);
  const fuse_interrupt_in argument{.unique = unique};
  bytes.resize(bytes.size() + sizeof argument);
  std::memcpy(bytes.data() + sizeof(fuse_in_header), &argument, sizeof argument);
  return bytes;
}

class ThrottleTest : public testing::Test {
 protected:
  void deliver(std::span<const std::byte> bytes) {
    fuse_in_header header{};
    std::memcpy(&header, bytes.data(), sizeof header);
    delivered_.push_back(header.unique);
  }
  void ask(std::uint32_t opcode, uid_t uid, std::uint64_t unique) {
    std::vector<std::byte> bytes = request(opcode, uid, unique);
    throttle_.admit(bytes);
  }
  void serve_until(std::size_t count) {
    while (delivered_.size() < count) {
      loop_->run_once(Micros(1'000'000));
    }
  }

  std::unique_ptr<Loop> loop_ = std::move(*Loop::create());
  std::vector<std::uint64_t> delivered_;
  registry::Users users_{registry::Users::Config::defaults()};
  std::vector<int> refused_;
  Throttle throttle_{*loop_,
                     users_,
                     kRate,
                     Micros::max(),
                     [this](std::span<std::byte> bytes) { deliver(bytes); },
                     [this](std::span<const std::byte>, int error) { refused_.push_back(error); }};
};

TEST_F(ThrottleTest, delivers_all_in_order_though_not_at_once) {
  for (std::uint64_t i = 1; i <= 10; ++i) {
    ask(FUSE_WRITE, kAlice, i);
  }
  EXPECT_GE(delivered_.size(), 5U);
  EXPECT_EQ(throttle_.held_back(), 10U - delivered_.size());
  serve_until(10);
  EXPECT_EQ(delivered_, (std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST_F(ThrottleTest, holds_back_no_other_user_and_never_root) {
  throttle_.set_rate(kSlow);
  for (std::uint64_t i = 1; i <= 20; ++i) {
    ask(FUSE_READ, kAlice, i);
  }
  EXPECT_LT(delivered_.size(), 20U);
  delivered_.clear();
  ask(FUSE_READ, kBob, 100);
  for (std::uint64_t i = 200; i < 300; ++i) {
    ask(FUSE_READ, 0, i);
  }
  EXPECT_EQ(delivered_.size(), 101U);
}

TEST_F(ThrottleTest, lets_pass_what_cleans_up_or_only_looks) {
  throttle_.set_rate(kSlow);
  for (std::uint64_t i = 1; i <= 20; ++i) {
    ask(FUSE_WRITE, kAlice, i);
  }
  delivered_.clear();
  for (const std::uint32_t opcode : {FUSE_LOOKUP, FUSE_GETATTR, FUSE_READDIR, FUSE_POLL, FUSE_FLUSH,
                                     FUSE_RELEASE, FUSE_FORGET}) {
    ask(opcode, kAlice, 100 + opcode);
  }
  EXPECT_EQ(delivered_.size(), 7U);
}

TEST_F(ThrottleTest, delivers_an_interrupted_request_at_once_behind_its_interrupt) {
  throttle_.set_rate(kSlow);
  for (std::uint64_t i = 2; i <= 40; i += 2) {
    ask(FUSE_WRITE, kAlice, i);
  }
  delivered_.clear();
  std::vector<std::byte> bytes = interrupt(40);
  throttle_.admit(bytes);
  EXPECT_EQ(delivered_, (std::vector<std::uint64_t>{41, 40}));
}

TEST_F(ThrottleTest, charges_what_it_holds_and_refuses_what_may_not_be_held) {
  throttle_.set_rate(kSlow);
  users_.set_limit(kAlice, registry::Resource::held, 3);
  for (std::uint64_t i = 1; i <= 10; ++i) {
    ask(FUSE_WRITE, kAlice, i);
  }
  EXPECT_EQ(users_.used(kAlice, registry::Resource::held), 3U);
  EXPECT_EQ(users_.used(kAlice, registry::Resource::bytes), 3 * sizeof(fuse_in_header));
  EXPECT_EQ(refused_, std::vector<int>(10 - 3 - delivered_.size(), EDQUOT));
  throttle_.set_rate(kRate);
  serve_until(10 - refused_.size());
  EXPECT_EQ(users_.used(kAlice, registry::Resource::held), 0U);
  EXPECT_EQ(users_.used(kAlice, registry::Resource::bytes), 0U);
}

TEST_F(ThrottleTest, delivers_in_time_whatever_the_rate) {
  Throttle impatient(
      *loop_, users_, kSlow, Micros(1000), [this](std::span<std::byte> bytes) { deliver(bytes); },
      [](std::span<const std::byte>, int) {});
  for (std::uint64_t i = 1; i <= 100; ++i) {
    std::vector<std::byte> bytes = request(FUSE_WRITE, kAlice, i);
    impatient.admit(bytes);
  }
  serve_until(100);
  EXPECT_EQ(delivered_.back(), 100U);
}

TEST_F(ThrottleTest, holds_back_nothing_without_a_rate) {
  throttle_.set_rate(registry::kUnlimited);
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    ask(FUSE_WRITE, kAlice, i);
  }
  EXPECT_EQ(delivered_.size(), 1000U);
  EXPECT_EQ(throttle_.held_back(), 0U);
}

TEST_F(ThrottleTest, reads_no_further_than_a_short_request_goes) {
  std::vector<std::byte> bytes = request(FUSE_WRITE, kAlice, 7);
  throttle_.admit(std::span(bytes).first(8));
  EXPECT_EQ(delivered_.size(), 1U);
}

}  // namespace
}  // namespace flowfs::fs
