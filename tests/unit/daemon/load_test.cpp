// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/load.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace flowfs::daemon {
namespace {

TEST(Accounts, root_is_found_by_name_and_number) {
  const Accounts accounts = system_accounts();
  for (const char* const root : {"root", "0"}) {
    const auto user = accounts.user(root);
    ASSERT_TRUE(user.has_value()) << root;
    EXPECT_EQ(user->uid, 0U);
    EXPECT_EQ(user->gid, 0U);
    EXPECT_EQ(accounts.group(root), std::optional<gid_t>(0)) << root;
  }
  EXPECT_EQ(accounts.self.uid, ::geteuid());
}

TEST(Accounts, a_number_needs_no_entry_but_must_be_an_id) {
  const Accounts accounts = system_accounts();
  const auto user = accounts.user("3999999999");
  ASSERT_TRUE(user.has_value());
  EXPECT_EQ(user->uid, 3'999'999'999U);
  EXPECT_EQ(user->gid, 3'999'999'999U);
  for (const char* const text : {"4294967295", "4294967296", "-1", "0x10", "", "12 "}) {
    EXPECT_FALSE(accounts.user(text).has_value()) << text;
    EXPECT_FALSE(accounts.group(text).has_value()) << text;
  }
}

TEST(Accounts, an_unknown_name_is_nobody) {
  EXPECT_FALSE(system_accounts().user("no-such-user-here").has_value());
  EXPECT_FALSE(group_of("no-such-group-here").has_value());
  EXPECT_EQ(group_of("root"), std::optional<gid_t>(0));
}

TEST(Load, no_file_gives_the_defaults) {
  const auto config = load_config("");
  ASSERT_TRUE(config.has_value());
  EXPECT_EQ(config->defaults.backlog, 128U);
}

TEST(Load, problems_name_the_file) {
  const std::string file = testing::TempDir() + "flowfs-load-test.toml";
  std::ofstream(file) << "[daemon]\nlog_level = \"loud\"\nvolume = 11\n";
  const auto config = load_config(file);
  std::remove(file.c_str());
  ASSERT_FALSE(config.has_value());
  EXPECT_THAT(config.error(),
              testing::ElementsAre(testing::StartsWith(file + ":2: daemon.log_level: 'loud'"),
                                   testing::StartsWith(file + ":3: daemon.volume: unknown key")));
}

TEST(Load, a_missing_file_that_was_named_is_an_error) {
  const auto config = load_config("/nonexistent/flowfsd.toml");
  ASSERT_FALSE(config.has_value());
  EXPECT_THAT(config.error(), testing::ElementsAre(testing::HasSubstr("No such file")));
}

}  // namespace
}  // namespace flowfs::daemon
