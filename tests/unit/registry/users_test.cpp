// SPDX-License-Identifier: BSD-3-Clause
#include "registry/users.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace flowfs::registry {
namespace {

constexpr uid_t kAlice = 1001;
constexpr uid_t kBob = 1002;

Users::Config config(std::uint64_t per_uid, std::uint64_t total) {
  Users::Config config{};
  config.per_uid.fill(per_uid);
  config.total.fill(total);
  return config;
}

class UsersTest : public ::testing::Test {
 protected:
  int charge_error(uid_t uid, std::uint64_t amount) {
    const Result<Charge> charge = users_.charge(uid, Resource::flows, amount);
    return charge ? 0 : charge.error().error;
  }

  Users users_{config(10, 25)};
};

TEST_F(UsersTest, charge_gives_itself_back) {
  {
    const Result<Charge> charge = users_.charge(kAlice, Resource::flows, 4);
    ASSERT_TRUE(charge);
    EXPECT_EQ(charge->amount(), 4U);
    EXPECT_EQ(charge->uid(), kAlice);
    EXPECT_EQ(users_.used(kAlice, Resource::flows), 4U);
    EXPECT_EQ(users_.total(Resource::flows), 4U);
    EXPECT_EQ(users_.used(kAlice, Resource::names), 0U);
  }
  EXPECT_EQ(users_.used(kAlice, Resource::flows), 0U);
  EXPECT_EQ(users_.total(Resource::flows), 0U);
}

TEST_F(UsersTest, moving_a_charge_keeps_one_owner) {
  Result<Charge> first = users_.charge(kAlice, Resource::flows, 4);
  ASSERT_TRUE(first);
  Charge moved = std::move(*first);
  EXPECT_EQ(users_.used(kAlice, Resource::flows), 4U);
  Result<Charge> second = users_.charge(kBob, Resource::flows, 2);
  ASSERT_TRUE(second);
  moved = std::move(*second);  // gives back what it held
  EXPECT_EQ(users_.used(kAlice, Resource::flows), 0U);
  EXPECT_EQ(users_.used(kBob, Resource::flows), 2U);
  moved.reset();
  moved.reset();
  EXPECT_EQ(users_.total(Resource::flows), 0U);
}

TEST_F(UsersTest, part_of_a_charge_can_be_given_back) {
  Result<Charge> charge = users_.charge(kAlice, Resource::bytes, 7);
  ASSERT_TRUE(charge);
  charge->give_back(3);
  EXPECT_EQ(charge->amount(), 4U);
  EXPECT_EQ(users_.used(kAlice, Resource::bytes), 4U);
  EXPECT_DEATH(charge->give_back(5), "amount");
}

TEST_F(UsersTest, refuses_past_the_limit_of_the_uid_and_changes_nothing) {
  const Result<Charge> most = users_.charge(kAlice, Resource::flows, 10);
  ASSERT_TRUE(most);
  EXPECT_EQ(charge_error(kAlice, 1), EDQUOT);
  EXPECT_EQ(charge_error(kBob, 11), EDQUOT);
  EXPECT_EQ(charge_error(kBob, UINT64_MAX), EDQUOT);
  EXPECT_EQ(users_.used(kAlice, Resource::flows), 10U);
  EXPECT_EQ(users_.total(Resource::flows), 10U);
  EXPECT_FALSE(users_.is_known(kBob));
  EXPECT_EQ(charge_error(kBob, 10), 0);
}

TEST_F(UsersTest, refuses_past_the_limit_of_the_daemon) {
  ASSERT_TRUE(users_.add(kAlice, Resource::flows, 10));
  ASSERT_TRUE(users_.add(kBob, Resource::flows, 10));
  EXPECT_EQ(charge_error(1003, 6), ENFILE);
  EXPECT_EQ(charge_error(0, 6), ENFILE);
  EXPECT_EQ(charge_error(0, 5), 0);
  EXPECT_EQ(users_.total(Resource::flows), 20U);
}

TEST_F(UsersTest, root_is_bound_by_the_total_alone) {
  EXPECT_EQ(users_.limit(0, Resource::flows), kUnlimited);
  EXPECT_EQ(charge_error(0, 25), 0);
  EXPECT_EQ(charge_error(0, 26), ENFILE);
}

TEST_F(UsersTest, what_is_added_piecemeal_is_subtracted_piecemeal) {
  ASSERT_TRUE(users_.add(kAlice, Resource::bytes, 6));
  ASSERT_TRUE(users_.add(kAlice, Resource::bytes, 4));
  EXPECT_FALSE(users_.add(kAlice, Resource::bytes, 1));
  users_.subtract(kAlice, Resource::bytes, 9);
  EXPECT_EQ(users_.used(kAlice, Resource::bytes), 1U);
  EXPECT_DEATH(users_.subtract(kAlice, Resource::bytes, 2), "used");
  EXPECT_DEATH(users_.subtract(kBob, Resource::bytes, 1), "account");
}

TEST_F(UsersTest, what_exists_already_is_charged_past_the_limits) {
  {
    const Charge charge = users_.charge_unchecked(kAlice, Resource::bytes, 40);
    EXPECT_EQ(users_.used(kAlice, Resource::bytes), 40U);
    EXPECT_EQ(users_.total(Resource::bytes), 40U);
    EXPECT_FALSE(users_.add(kBob, Resource::bytes, 1));
    EXPECT_FALSE(users_.add(0, Resource::bytes, 1));
  }
  EXPECT_TRUE(users_.add(kBob, Resource::bytes, 1));
}

TEST_F(UsersTest, nothing_costs_nothing_even_above_the_limit) {
  ASSERT_TRUE(users_.add(kAlice, Resource::flows, 5));
  users_.set_limit(kAlice, Resource::flows, 1);
  EXPECT_EQ(charge_error(kAlice, 0), 0);
  users_.subtract(kBob, Resource::flows, 0);
  EXPECT_FALSE(users_.is_known(kBob));
}

TEST_F(UsersTest, a_limit_below_the_use_takes_nothing_away) {
  ASSERT_TRUE(users_.add(kAlice, Resource::flows, 5));
  users_.set_limit(kAlice, Resource::flows, 3);
  EXPECT_EQ(users_.limit(kAlice, Resource::flows), 3U);
  EXPECT_EQ(users_.used(kAlice, Resource::flows), 5U);
  EXPECT_EQ(charge_error(kAlice, 1), EDQUOT);
  users_.subtract(kAlice, Resource::flows, 3);
  EXPECT_EQ(charge_error(kAlice, 1), 0);
}

TEST_F(UsersTest, overrides_survive_new_defaults) {
  users_.set_limit(kAlice, Resource::flows, 20);
  users_.set_limit(0, Resource::flows, 2);
  users_.reconfigure(config(5, 12));
  EXPECT_EQ(users_.limit(kAlice, Resource::flows), 20U);
  EXPECT_EQ(users_.limit(kAlice, Resource::names), 5U);
  EXPECT_EQ(users_.limit(kBob, Resource::flows), 5U);
  EXPECT_EQ(charge_error(0, 3), EDQUOT);
  EXPECT_EQ(charge_error(kAlice, 13), ENFILE);
  EXPECT_EQ(charge_error(kAlice, 11), 0);
}

TEST_F(UsersTest, knows_who_ever_had_a_charge_or_an_override) {
  EXPECT_EQ(charge_error(kBob, 1), 0);
  users_.set_limit(kAlice, Resource::held, 7);
  EXPECT_THAT(users_.known(), ::testing::ElementsAre(kAlice, kBob));
  EXPECT_TRUE(users_.is_known(kBob));
  EXPECT_FALSE(users_.is_known(0));
}

TEST(UsersDefaultsTest, eight_colluding_uids_leave_a_fifth_of_everything) {
  Users users{Users::Config::defaults()};
  for (std::size_t index = 0; index < kResources; ++index) {
    const auto resource = static_cast<Resource>(index);
    SCOPED_TRACE(std::string(to_string(resource)));
    for (uid_t uid = 1; uid <= 8; ++uid) {
      const std::uint64_t most = users.limit(uid, resource);
      ASSERT_TRUE(users.add(uid, resource, most));
      ASSERT_FALSE(users.add(uid, resource, 1));
    }
    const std::uint64_t total = Users::Config::defaults().total[index];
    EXPECT_GE(total - users.total(resource), total / 5);
    EXPECT_TRUE(users.add(kAlice, resource, users.limit(kAlice, resource)));
  }
}

// --- the last twentieth of a total
// -------------------------------------------------------------------

// Takes all that `uid` may, one by one; returns how much it has then.
std::uint64_t take_all(Users& users, uid_t uid, Resource resource = Resource::flows) {
  while (users.add(uid, resource, 1)) {
  }
  return users.used(uid, resource);
}

TEST(UsersShareTest, the_last_twentieth_is_not_for_who_holds_more_than_the_share) {
  Users users{config(1000, 1000)};
  EXPECT_EQ(take_all(users, kAlice), 950U);
  EXPECT_EQ(take_all(users, kBob), 16U);  // (50 + 0) / (2 + 1)
  EXPECT_EQ(take_all(users, kAlice), 950U);
}

TEST(UsersShareTest, an_amount_is_compared_with_the_share_as_a_whole) {
  Users users{config(1000, 1000)};
  ASSERT_TRUE(users.add(kAlice, Resource::bytes, 900));
  const Status refused = users.add(kBob, Resource::bytes, 67);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().error, ENFILE);
  EXPECT_TRUE(users.add(kBob, Resource::bytes, 50));
}

TEST(UsersShareTest, whoever_gives_back_makes_room_and_counts_no_more) {
  Users users{config(1000, 1000)};
  ASSERT_TRUE(users.add(kAlice, Resource::flows, 950));
  ASSERT_TRUE(users.add(kBob, Resource::flows, 16));
  users.subtract(kBob, Resource::flows, 16);
  EXPECT_EQ(take_all(users, 1003), 16U);
  users.subtract(kAlice, Resource::flows, 950);
  EXPECT_EQ(take_all(users, 1003), 950U);
}

TEST(UsersShareTest, what_root_holds_does_not_count_as_a_uid) {
  Users users{config(1000, 1000)};
  ASSERT_TRUE(users.add(0, Resource::flows, 950));
  EXPECT_EQ(take_all(users, kAlice), 25U);
}

TEST(UsersShareTest, root_keeps_a_thousandth_whoever_comes) {
  Users users{config(1000, 1000)};
  for (uid_t uid = 1; uid <= 2000; ++uid) {
    take_all(users, uid);
  }
  EXPECT_EQ(users.total(Resource::flows), 999U);
  EXPECT_EQ(take_all(users, 0), 1U);
}

TEST(UsersShareTest, a_total_lowered_below_the_use_refuses_everybody) {
  Users users{config(1000, 1000)};
  take_all(users, kAlice);
  users.reconfigure(config(500, 500));
  EXPECT_FALSE(users.add(kBob, Resource::flows, 1));
  EXPECT_FALSE(users.add(0, Resource::flows, 1));
  EXPECT_TRUE(users.add(kBob, Resource::flows, 0));
}

TEST(UsersShareTest, without_a_total_there_is_no_share) {
  Users users{config(1000, kUnlimited)};
  for (uid_t uid = 1; uid <= 100; ++uid) {
    EXPECT_EQ(take_all(users, uid), 1000U);
  }
}

TEST(UsersShareTest, a_hundred_colluding_uids_leave_something_of_everything) {
  Users users{Users::Config::defaults()};
  for (std::size_t index = 0; index < kResources; ++index) {
    const auto resource = static_cast<Resource>(index);
    SCOPED_TRACE(std::string(to_string(resource)));
    const std::uint64_t step = std::max<std::uint64_t>(1, users.limit(1, resource) / 2048);
    for (uid_t uid = 1; uid <= 100; ++uid) {
      while (users.add(uid, resource, step)) {
      }
    }
    EXPECT_TRUE(users.add(kAlice, resource, users.limit(kAlice, resource) / 2048));
  }
}

}  // namespace
}  // namespace flowfs::registry
