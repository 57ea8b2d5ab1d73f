// SPDX-License-Identifier: BSD-3-Clause
#include "base/result.hpp"

#include <gtest/gtest.h>

namespace flowfs {
namespace {

TEST(Failure, says_what_failed_and_why) {
  EXPECT_EQ((Failure{EACCES, "open"}).message(), "open: Permission denied");
  EXPECT_EQ((Failure{EACCES}).message(), "Permission denied");
}

TEST(Failure, is_forwarded_unchanged) {
  errno = ENOSPC;
  const Status status = fail_errno("fallocate");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().error, ENOSPC);
  EXPECT_STREQ(status.error().context, "fallocate");
}

TEST(CheckDeathTest, names_the_broken_invariant) {
  FLOWFS_CHECK(1 + 1 == 2);
  EXPECT_DEATH(FLOWFS_CHECK(1 + 1 == 3), "result_test.cpp:[0-9]+: broken invariant: 1 \\+ 1 == 3");
}

}  // namespace
}  // namespace flowfs
