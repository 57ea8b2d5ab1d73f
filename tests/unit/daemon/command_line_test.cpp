// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/command_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

namespace flowfs::daemon {
namespace {

std::expected<CommandLine, ExitNow> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "flowfsd");
  return parse_command_line(static_cast<int>(words.size()), words.data());
}

TEST(CommandLine, nothing_is_asked_for_by_default) {
  const auto line = parse({});
  ASSERT_TRUE(line.has_value());
  EXPECT_EQ(line->config, "");
  EXPECT_EQ(line->mount, "");
  EXPECT_FALSE(line->foreground || line->user || line->check);
  EXPECT_EQ(line->log_level, std::nullopt);
}

TEST(CommandLine, every_option_is_read) {
  const auto line = parse({"--config", "/a/b.toml", "--mount=/m", "--foreground", "--user",
                           "--check", "--log-level", "debug"});
  ASSERT_TRUE(line.has_value());
  EXPECT_EQ(line->config, "/a/b.toml");
  EXPECT_EQ(line->mount, "/m");
  EXPECT_TRUE(line->foreground && line->user && line->check);
  EXPECT_EQ(line->log_level, std::optional(log::Level::debug));
}

TEST(CommandLine, paths_are_made_absolute) {
  const auto line = parse({"--config", "b.toml", "--mount", "m"});
  ASSERT_TRUE(line.has_value());
  const std::string here = std::filesystem::current_path().string();
  EXPECT_EQ(line->config, here + "/b.toml");
  EXPECT_EQ(line->mount, here + "/m");
}

TEST(CommandLine, bad_usage_ends_with_2) {
  for (const std::vector<const char*>& words : std::vector<std::vector<const char*>>{
           {"--unknown"}, {"word"}, {"--config"}, {"--log-level", "loud"}}) {
    testing::internal::CaptureStderr();
    const auto line = parse(words);
    EXPECT_NE(testing::internal::GetCapturedStderr(), "") << words.front();
    ASSERT_FALSE(line.has_value()) << words.front();
    EXPECT_EQ(line.error().code, 2) << words.front();
  }
}

TEST(CommandLine, help_and_version_end_with_0) {
  for (const char* const word : {"--help", "--version"}) {
    testing::internal::CaptureStdout();
    const auto line = parse({word});
    EXPECT_THAT(testing::internal::GetCapturedStdout(), testing::HasSubstr("flowfsd"));
    ASSERT_FALSE(line.has_value());
    EXPECT_EQ(line.error().code, 0);
  }
}

}  // namespace
}  // namespace flowfs::daemon
