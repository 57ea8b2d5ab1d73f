// SPDX-License-Identifier: BSD-3-Clause
#include "cli/table.hpp"

#include <gtest/gtest.h>

namespace flowfs::cli {
namespace {

Table sample() {
  Table table({{"NAME", Align::left, true}, {"N", Align::right}, {"LAST"}});
  table.add({"a", "5", "x"});
  table.add({"a-rather-long-name", "1234", ""});
  return table;
}

TEST(Table, aligns_columns_and_leaves_no_blanks_behind) {
  EXPECT_EQ(sample().render(0),
            "NAME                   N  LAST\n"
            "a                      5  x\n"
            "a-rather-long-name  1234\n");
}

TEST(Table, cuts_the_elastic_column_to_the_width) {
  EXPECT_EQ(sample().render(24),
            "NAME             N  LAST\n"
            "a                5  x\n"
            "a-rather-lo~  1234\n");
}

TEST(Table, overflows_rather_than_cut_what_must_be_whole) {
  EXPECT_EQ(sample().render(5),
            "NAME       N  LAST\n"
            "a          5  x\n"
            "a-rat~  1234\n");
}

TEST(Table, shows_titles_alone_without_rows) {
  const Table table({{"A"}, {"B"}});
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(table.render(80), "A  B\n");
}

TEST(Table, counts_characters_not_bytes) {
  EXPECT_EQ(text_width("grün"), 4U);
  EXPECT_EQ(cut("grünlich", 5), "grün~");
  EXPECT_EQ(cut("grün", 4), "grün");
  EXPECT_EQ(cut("long", 1), "~");
  EXPECT_EQ(cut("long", 0), "");
}

TEST(Table, shortens_numbers_to_five_characters) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(9999), "9999");
  EXPECT_EQ(short_number(10'000), "10.0k");
  EXPECT_EQ(short_number(99'940), "99.9k");
  EXPECT_EQ(short_number(99'950), "100k");
  EXPECT_EQ(short_number(999'499), "999k");
  EXPECT_EQ(short_number(999'999), "1.0M");
}

TEST(Table, never_needs_more_than_five_characters_below_1000_tera) {
  std::uint64_t value = 1;
  for (int step = 0; step < 400 && value < 999'000'000'000'000; ++step) {
    EXPECT_LE(short_number(value).size(), 5U) << value;
    value += value / 11 + 1;
  }
}

TEST(Table, shortens_the_largest_number) { EXPECT_EQ(short_number(UINT64_MAX), "18.4E"); }

}  // namespace
}  // namespace flowfs::cli
