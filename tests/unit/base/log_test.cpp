// SPDX-License-Identifier: BSD-3-Clause
// Each case runs in a child, whose stderr is the matcher's input: the style of the log is decided
// once a process, by the first line.
#include "base/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace flowfs {
namespace {

using ::testing::AllOf;
using ::testing::ExitedWithCode;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

template <typename Body>
[[noreturn]] void in_child(Body body) {
  body();
  std::_Exit(0);
}

void set_journal_stream(bool matching) {
  struct stat status{};
  ASSERT_EQ(::fstat(STDERR_FILENO, &status), 0);
  const auto inode = status.st_ino + (matching ? 0 : 1);
  ::setenv("JOURNAL_STREAM", fmt::format("{}:{}", status.st_dev, inode).c_str(), 1);
}

TEST(LogDeathTest, begins_with_time_and_level) {
  EXPECT_EXIT(in_child([] {
                ::unsetenv("JOURNAL_STREAM");
                log::warning("mount={} gone", "/run/x");
              }),
              ExitedWithCode(0),
              MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9:]+\\.[0-9]+[+-][0-9:]+ "
                           "warning mount=/run/x gone\n"));
}

TEST(LogDeathTest, begins_with_the_journal_level_where_stderr_is_the_journal) {
  EXPECT_EXIT(in_child([] {
                set_journal_stream(true);
                log::set_level(log::Level::debug);
                log::error("a");
                log::warning("b");
                log::notice("c");
                log::info("d");
                log::debug("e");
              }),
              ExitedWithCode(0), "^<3>a\n<4>b\n<5>c\n<6>d\n<7>e\n$");
}

TEST(LogDeathTest, an_inherited_journal_stream_that_is_not_stderr_is_ignored) {
  EXPECT_EXIT(in_child([] {
                set_journal_stream(false);
                log::error("a");
              }),
              ExitedWithCode(0), AllOf(HasSubstr(" error a\n"), Not(HasSubstr("<3>"))));
}

TEST(LogDeathTest, a_client_cannot_forge_a_line) {
  EXPECT_EXIT(in_child([] {
                set_journal_stream(true);
                log::notice("name={}", "a\n<0>panic\x1b[2J\x7f");
              }),
              ExitedWithCode(0), "^<5>name=a\\\\x0a<0>panic\\\\x1b\\[2J\\\\x7f\n$");
}

TEST(LogDeathTest, writes_nothing_below_its_level) {
  EXPECT_EXIT(in_child([] {
                set_journal_stream(true);
                log::debug("by default no {}", "debug");
                log::info("info");
                log::set_level(log::Level::error);
                log::warning("hidden");
                log::error("shown");
              }),
              ExitedWithCode(0), "^<6>info\n<3>shown\n$");
}

TEST(Log, parses_its_levels_and_nothing_else) {
  log::Level level = log::Level::error;
  EXPECT_TRUE(log::parse_level("debug", level));
  EXPECT_EQ(level, log::Level::debug);
  EXPECT_TRUE(log::parse_level("notice", level));
  EXPECT_EQ(level, log::Level::notice);
  for (const char* text : {"", "Debug", "debug ", "trace", "7"}) {
    EXPECT_FALSE(log::parse_level(text, level)) << text;
  }
  EXPECT_EQ(level, log::Level::notice);
}

}  // namespace
}  // namespace flowfs
