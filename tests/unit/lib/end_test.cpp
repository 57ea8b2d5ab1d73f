// SPDX-License-Identifier: BSD-3-Clause
#include "lib/end.hpp"

#include <gtest/gtest.h>

namespace flowfs::lib {
namespace {

TEST(NumberOf, finds_the_line_of_a_key) {
  const std::string text = "uid 0\ngid 4294967295\npid 12\nname uid\n";
  EXPECT_EQ(number_of(text, "uid").value(), 0U);
  EXPECT_EQ(number_of(text, "gid").value(), 4294967295U);
  EXPECT_EQ(number_of(text, "pid").value(), 12U);
}

TEST(NumberOf, refuses_what_is_no_number) {
  for (const char* text : {"", "uid", "uid \n", "uid x\n", "uid 1x\n", "uid -1\n", "uidx 1\n",
                           "uid 99999999999999999999\n", "\n\n", "xuid 1\n"}) {
    const auto found = number_of(text, "uid");
    ASSERT_FALSE(found) << text;
    EXPECT_EQ(found.error().error, EPROTO);
  }
}

TEST(NumberOf, needs_no_newline_at_the_end) { EXPECT_EQ(number_of("uid 7", "uid").value(), 7U); }

}  // namespace
}  // namespace flowfs::lib
