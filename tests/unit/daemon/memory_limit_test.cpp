// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/memory_limit.hpp"

#include <gtest/gtest.h>

namespace flowfs::daemon {
namespace {

using registry::Resource;
using registry::Users;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

std::uint64_t total(const Users::Config& limits, Resource resource) {
  return limits.total[static_cast<std::size_t>(resource)];
}

std::uint64_t per_uid(const Users::Config& limits, Resource resource) {
  return limits.per_uid[static_cast<std::size_t>(resource)];
}

TEST(MemoryLimit, leaves_limits_alone_that_fit) {
  Users::Config limits = Users::Config::defaults();
  EXPECT_FALSE(fit_to_memory(limits, std::uint64_t{1} << 40));
  EXPECT_EQ(limits.total, Users::Config::defaults().total);
  EXPECT_EQ(limits.per_uid, Users::Config::defaults().per_uid);
}

TEST(MemoryLimit, never_promises_more_than_there_is) {
  Users::Config limits = Users::Config::defaults();
  EXPECT_TRUE(fit_to_memory(limits, 12 * kMiB));
  EXPECT_EQ(total(limits, Resource::bytes), 6 * kMiB);
  EXPECT_EQ(total(limits, Resource::flows), 768U);
  EXPECT_EQ(total(limits, Resource::buses), 192U);
  EXPECT_EQ(total(limits, Resource::ports), 384U);
  EXPECT_EQ(total(limits, Resource::descriptors), 1536U);
  EXPECT_EQ(per_uid(limits, Resource::flows), 76U);
}

TEST(MemoryLimit, keeps_a_limit_that_is_lower_already) {
  Users::Config limits = Users::Config::defaults();
  limits.total[static_cast<std::size_t>(Resource::names)] = 3;
  limits.per_uid[static_cast<std::size_t>(Resource::names)] = 2;
  EXPECT_TRUE(fit_to_memory(limits, 12 * kMiB));
  EXPECT_EQ(total(limits, Resource::names), 3U);
  EXPECT_EQ(per_uid(limits, Resource::names), 2U);
}

TEST(MemoryLimit, allows_a_uid_one_of_each_however_little_there_is) {
  Users::Config limits = Users::Config::defaults();
  EXPECT_TRUE(fit_to_memory(limits, 0));
  for (const std::uint64_t limit : limits.per_uid) {
    EXPECT_EQ(limit, 1U);
  }
}

TEST(MemoryLimit, finds_no_more_than_the_machine_has) {
  EXPECT_GT(available_memory(), 0U);
  EXPECT_LT(available_memory(), std::uint64_t{1} << 50);
}

}  // namespace
}  // namespace flowfs::daemon
