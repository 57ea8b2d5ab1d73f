// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/request_pages.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "registry/types.hpp"

namespace flowfs::daemon {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(RequestPages, the_default_fits_into_what_kernels_always_allowed) {
  EXPECT_EQ(lacks_pages(registry::kLongestMessage, 256), std::nullopt);
  EXPECT_NE(lacks_pages(registry::kLongestMessage + 1, 256), std::nullopt);
}

TEST(RequestPages, says_how_many_are_needed) {
  EXPECT_EQ(lacks_pages(4 << 20, 1024 + 32), std::nullopt);
  EXPECT_THAT(lacks_pages(4 << 20, 1024 + 31).value_or(""),
              AllOf(HasSubstr("allows 1055"), HasSubstr("max_pages_limit=1056")));
}

TEST(RequestPages, this_kernel_allows_the_default) { EXPECT_GE(kernel_request_pages(), 256U); }

}  // namespace
}  // namespace flowfs::daemon
