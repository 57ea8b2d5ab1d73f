// SPDX-License-Identifier: BSD-3-Clause
#include "cli/bus_view.hpp"

#include <gtest/gtest.h>

namespace flowfs::cli {
namespace {

TEST(BusView, reads_members_and_leaves_out_what_is_none) {
  const auto rows = parse_members(
      "1 0 4321 rw 3 17 2 1500000\n"
      "nonsense\n"
      "2 1000 77 r 0 0 0\n"  // an age is missing
      "5 1000 - w 0 0 0 9 and more of a later version\n");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].port, 1U);
  EXPECT_EQ(rows[0].mode, "rw");
  EXPECT_EQ(rows[0].lag, 3U);
  EXPECT_EQ(rows[0].delivered, 17U);
  EXPECT_EQ(rows[0].dropped, 2U);
  EXPECT_EQ(rows[0].age_us, 1'500'000U);
  EXPECT_EQ(rows[1].port, 5U);
  EXPECT_EQ(rows[1].pid, "-");
}

TEST(BusView, shows_what_is_hidden_as_hidden) {
  const BusRow hidden{.name = "secret", .owner = "root", .policy = {}, .delivery = {}, .stats = {}};
  EXPECT_EQ(render(std::vector{hidden}, 0),
            "BUS     OWNER  POLICY  DELIVERY  MEMBERS  READERS  WRITERS  SENT  DROPPED  LAG\n"
            "secret  root   -       -               -        -        -     -        -    -\n");
  EXPECT_EQ(as_json(hidden).dump(), R"({"bus":"secret","owner":"root"})");
}

TEST(BusView, gives_ages_in_their_largest_unit) {
  EXPECT_EQ(short_age(999'999), "999ms");
  EXPECT_EQ(short_age(1'000'000), "1s");
  EXPECT_EQ(short_age(59'999'999), "59s");
  EXPECT_EQ(short_age(3'599'999'999), "59m");
  EXPECT_EQ(short_age(86'399'999'999), "23h");
  EXPECT_EQ(short_age(200'000'000'000), "2d");
}

}  // namespace
}  // namespace flowfs::cli
