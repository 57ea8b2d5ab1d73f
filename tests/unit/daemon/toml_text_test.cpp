// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/toml_text.hpp"

#include <gtest/gtest.h>

namespace flowfs::daemon {
namespace {

TEST(TomlText, strings_and_comments_may_have_any_character) {
  for (const char* const text : {"", "\xEF\xBB\xBF[daemon]\n", "# größer\n", "a = \"größer\" # é",
                                 "a = 'é'\n", "a = \"\"\"é\n\"é\" é\"\"\"\n", "a = '''é'é''é'''\n",
                                 "a = \"\\\"é\"\n", "\"é\" = 1\n", "a = \"\"\"é\"\"\"\"\" # é\n",
                                 "a = \"\" # é\n", "a = '\\' # é\n", "a = \"\"\"\\\"\"\"é\"\"\""}) {
    EXPECT_EQ(line_of_stray_character(text), std::nullopt) << text;
  }
}

TEST(TomlText, anywhere_else_the_line_is_told) {
  EXPECT_EQ(line_of_stray_character("é = 1\n"), 1U);
  EXPECT_EQ(line_of_stray_character("a = 1\n[limits\xD0\x8B]\n"), 2U);
  EXPECT_EQ(line_of_stray_character("a = \"\"\"\n\n\"\"\" é"), 3U);
  EXPECT_EQ(line_of_stray_character("a = '\\' é"), 1U);
  EXPECT_EQ(line_of_stray_character("a = \"\" é"), 1U);
  EXPECT_EQ(line_of_stray_character("a = \"\"\"\"\"\" é"), 1U);
  EXPECT_EQ(line_of_stray_character("a = 1\xC2\xA0\n"), 1U) << "a no-break space";
}

}  // namespace
}  // namespace flowfs::daemon
