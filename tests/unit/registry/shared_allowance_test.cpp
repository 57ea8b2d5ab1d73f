// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include "registry/users.hpp"

namespace flowfs::registry {
namespace {

constexpr uid_t kOwner = 1000;

// Takes all that `uid` may; returns how many.
std::uint64_t take_all(SharedAllowance& allowance, uid_t uid, std::uint64_t capacity,
                       uid_t owner = kOwner) {
  std::uint64_t taken = 0;
  while (allowance.may_take(owner, uid, capacity)) {
    allowance.take(uid);
    ++taken;
  }
  return taken;
}

TEST(SharedAllowanceTest, owner_and_root_may_use_all_that_is_free) {
  SharedAllowance by_owner;
  EXPECT_EQ(take_all(by_owner, kOwner, 16), 16U);
  SharedAllowance by_root;
  EXPECT_EQ(take_all(by_root, 0, 16), 16U);
  EXPECT_FALSE(by_root.may_take(kOwner, kOwner, 16));
}

TEST(SharedAllowanceTest, a_foreign_uid_may_hold_half) {
  SharedAllowance allowance;
  EXPECT_EQ(take_all(allowance, 1, 128), 64U);
  EXPECT_EQ(allowance.held_by(1), 64U);
  EXPECT_EQ(allowance.taken(), 64U);
}

TEST(SharedAllowanceTest, a_second_foreign_uid_may_hold_a_third_of_the_rest) {
  SharedAllowance allowance;
  take_all(allowance, 1, 128);
  EXPECT_EQ(take_all(allowance, 2, 128), 21U);
  EXPECT_FALSE(allowance.may_take(kOwner, 1, 128));
}

TEST(SharedAllowanceTest, what_owner_and_root_hold_does_not_count_as_foreign_uids) {
  SharedAllowance allowance;
  allowance.take(kOwner);
  allowance.take(0);
  EXPECT_EQ(take_all(allowance, 1, 102), 50U);
  SharedAllowance owned_by_root;
  owned_by_root.take(0);
  EXPECT_EQ(take_all(owned_by_root, 1, 101, 0), 50U);
}

TEST(SharedAllowanceTest, eight_colluding_uids_leave_the_owner_a_tenth) {
  for (std::uint64_t capacity = 1; capacity <= 300; ++capacity) {
    SCOPED_TRACE(capacity);
    SharedAllowance allowance;
    for (int round = 0; round < 3; ++round) {
      for (uid_t uid = 1; uid <= 8; ++uid) {
        take_all(allowance, uid, capacity);
      }
    }
    EXPECT_GE(take_all(allowance, kOwner, capacity), capacity / 10);
    EXPECT_EQ(allowance.taken(), capacity);
  }
}

TEST(SharedAllowanceTest, a_thousand_colluding_uids_leave_the_owner_a_tenth) {
  SharedAllowance allowance;
  for (uid_t uid = 1; uid < kOwner; ++uid) {
    take_all(allowance, uid, 200);
  }
  EXPECT_EQ(allowance.taken(), 180U);
  EXPECT_EQ(take_all(allowance, kOwner, 200), 20U);
}

TEST(SharedAllowanceTest, the_tenth_counts_what_the_owner_has_already) {
  SharedAllowance allowance;
  for (int place = 0; place < 2; ++place) {
    allowance.take(kOwner);
  }
  for (uid_t uid = 1; uid < kOwner; ++uid) {
    take_all(allowance, uid, 20);
  }
  EXPECT_EQ(allowance.taken(), 20U);
}

TEST(SharedAllowanceTest, the_smallest_capacity_serves_foreign_uids_too) {
  SharedAllowance allowance;
  EXPECT_EQ(take_all(allowance, 1, 1), 1U);
  EXPECT_FALSE(allowance.may_take(kOwner, kOwner, 1));
  EXPECT_FALSE(SharedAllowance().may_take(kOwner, kOwner, 0));
}

TEST(SharedAllowanceTest, unlimited_is_unlimited) {
  SharedAllowance allowance;
  for (int place = 0; place < 1000; ++place) {
    ASSERT_TRUE(allowance.may_take(kOwner, 1, kUnlimited));
    allowance.take(1);
  }
}

TEST(SharedAllowanceTest, giving_back_restores_the_share) {
  SharedAllowance allowance;
  take_all(allowance, 1, 10);
  take_all(allowance, 2, 10);
  const std::uint64_t of_second = allowance.held_by(2);
  for (std::uint64_t place = 0; place < of_second; ++place) {
    allowance.give_back(2);
  }
  EXPECT_EQ(allowance.held_by(2), 0U);
  EXPECT_EQ(take_all(allowance, 2, 10), of_second);
  EXPECT_DEATH(allowance.give_back(3), "held_");
}

TEST(SharedAllowanceTest, nothing_may_be_taken_above_a_capacity_that_shrank) {
  SharedAllowance allowance;
  take_all(allowance, kOwner, 10);
  EXPECT_FALSE(allowance.may_take(kOwner, kOwner, 4));
  EXPECT_FALSE(allowance.may_take(kOwner, 0, 4));
  EXPECT_FALSE(allowance.may_take(kOwner, 1, 4));
}

}  // namespace
}  // namespace flowfs::registry
