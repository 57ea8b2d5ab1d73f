// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/paths.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace flowfs::daemon {
namespace {

Environment with(std::map<std::string, std::string> variables, std::set<std::string> files = {}) {
  return {.variable = [variables](const char* name) -> std::optional<std::string> {
            const auto found = variables.find(name);
            return found == variables.end() ? std::nullopt : std::optional(found->second);
          },
          .exists = [files](const std::string& path) { return files.contains(path); }};
}

TEST(Paths, root_reads_below_etc_if_the_file_is_there) {
  EXPECT_EQ(default_config(false, with({}, {"/etc/flowfs/flowfsd.toml"})),
            "/etc/flowfs/flowfsd.toml");
  EXPECT_EQ(default_config(false, with({})), "");
}

TEST(Paths, a_user_reads_below_the_own_configuration) {
  const std::set<std::string> files{"/c/flowfs/flowfsd.toml", "/h/.config/flowfs/flowfsd.toml",
                                    "/etc/flowfs/flowfsd.toml"};
  EXPECT_EQ(default_config(true, with({{"XDG_CONFIG_HOME", "/c"}, {"HOME", "/h"}}, files)),
            "/c/flowfs/flowfsd.toml");
  EXPECT_EQ(default_config(true, with({{"HOME", "/h"}}, files)), "/h/.config/flowfs/flowfsd.toml");
  EXPECT_EQ(default_config(true, with({{"XDG_CONFIG_HOME", "relative"}, {"HOME", "/h"}}, files)),
            "/h/.config/flowfs/flowfsd.toml");
  EXPECT_EQ(default_config(true, with({}, files)), "");
  EXPECT_EQ(default_config(true, with({{"HOME", "/h"}})), "");
}

TEST(Paths, the_security_folder_is_beside_the_configuration_whether_it_is_there_or_not) {
  EXPECT_EQ(default_security(false, with({{"HOME", "/h"}})), "/etc/flowfs/security");
  EXPECT_EQ(default_security(true, with({{"XDG_CONFIG_HOME", "/c"}, {"HOME", "/h"}})),
            "/c/flowfs/security");
  EXPECT_EQ(default_security(true, with({{"HOME", "/h"}})), "/h/.config/flowfs/security");
  EXPECT_EQ(default_security(true, with({})), "");
}

TEST(Paths, the_mount_is_below_run_or_the_users_runtime_directory) {
  EXPECT_EQ(default_mount(false, with({{"XDG_RUNTIME_DIR", "/r"}})), "/run/flowfs");
  EXPECT_EQ(default_mount(true, with({{"XDG_RUNTIME_DIR", "/r"}})), "/r/flowfs");
  EXPECT_EQ(default_mount(true, with({})), "");
  EXPECT_EQ(default_mount(true, with({{"XDG_RUNTIME_DIR", ""}})), "");
}

}  // namespace
}  // namespace flowfs::daemon
