// SPDX-License-Identifier: BSD-3-Clause
#include "cli/key_value.hpp"

#include <gmock/gmock.h>

namespace flowfs::cli {
namespace {

using testing::ElementsAre;
using testing::Optional;
using testing::Pair;

TEST(KeyValue, reads_a_pair_a_line_in_order) {
  const KeyValues values = KeyValues::parse_lines("uid 1000\nname a b\n\n  gid\t7 \nempty\n");
  EXPECT_THAT(values.entries(), ElementsAre(Pair("uid", "1000"), Pair("name", "a b"),
                                            Pair("gid", "7"), Pair("empty", "")));
}

TEST(KeyValue, reads_a_last_line_without_newline) {
  EXPECT_THAT(KeyValues::parse_lines("tree 1").find("tree"), Optional(std::string_view("1")));
}

TEST(KeyValue, reads_words_with_equals_signs) {
  const KeyValues values = KeyValues::parse_words(" uid=3  to=names/a=b plain ");
  EXPECT_THAT(values.entries(),
              ElementsAre(Pair("uid", "3"), Pair("to", "names/a=b"), Pair("plain", "")));
}

TEST(KeyValue, finds_the_first_of_two) {
  EXPECT_THAT(KeyValues::parse_lines("a 1\na 2\n").number("a"), Optional(1U));
}

TEST(KeyValue, a_number_is_digits_alone) {
  EXPECT_THAT(parse_number("18446744073709551615"), Optional(UINT64_MAX));
  for (const char* text : {"", "max", "-1", "+1", "1 ", "1.0", "0x10", "18446744073709551616"}) {
    EXPECT_EQ(parse_number(text), std::nullopt) << text;
  }
}

TEST(KeyValue, says_nothing_of_what_is_missing) {
  const KeyValues values = KeyValues::parse_lines("limit max\n");
  EXPECT_EQ(values.find("other"), std::nullopt);
  EXPECT_EQ(values.number("limit"), std::nullopt);
  EXPECT_TRUE(KeyValues::parse_lines("\n \n").empty());
}

TEST(KeyValue, trims_blanks_at_both_ends_only) { EXPECT_EQ(trim(" \t a b\r\n"), "a b"); }

}  // namespace
}  // namespace flowfs::cli
