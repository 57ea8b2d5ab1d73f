// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/mount_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flowfs::daemon {
namespace {

constexpr std::string_view kTable =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "90 27 0:50 / /run/flowfs rw,nosuid shared:4 master:2 - tmpfs none rw\n"
    "91 90 0:51 / /run/flowfs rw,nosuid,nodev - fuse.flowfs flowfs rw,user_id=0\n"
    "92 27 0:52 / /run/with\\040space\\134 rw - fuse flowfs rw\n"
    "a line that is no entry\n"
    "\n"
    "93 27 0:53 / /run/flowfs2 rw - fuse.sshfs flowfs rw\n"
    "94 27 0:54 / /run/last rw - ext4 /dev/sda1 rw";

TEST(MountTable, finds_the_mounts_of_one_place_the_top_one_last) {
  const auto mounts = mounts_at(kTable, "/run/flowfs");
  ASSERT_EQ(mounts.size(), 2U);
  EXPECT_FALSE(is_flowfs(mounts[0]));
  EXPECT_EQ(mounts[0].type, "tmpfs");
  EXPECT_TRUE(is_flowfs(mounts[1]));
  EXPECT_EQ(mounts[1].source, "flowfs");
}

TEST(MountTable, reads_escaped_paths_and_a_last_line_without_end) {
  const auto spaced = mounts_at(kTable, "/run/with space\\");
  ASSERT_EQ(spaced.size(), 1U);
  EXPECT_TRUE(is_flowfs(spaced[0]));
  EXPECT_EQ(mounts_at(kTable, "/run/last").size(), 1U);
}

TEST(MountTable, the_type_decides_whose_a_mount_is) {
  const auto mounts = mounts_at(kTable, "/run/flowfs2");
  ASSERT_EQ(mounts.size(), 1U);
  EXPECT_FALSE(is_flowfs(mounts[0])) << "another file system may call itself flowfs";
}

TEST(MountTable, passes_over_what_is_no_entry) {
  EXPECT_TRUE(mounts_at(kTable, "").empty());
  EXPECT_TRUE(mounts_at(kTable, "/nowhere").empty());
  EXPECT_TRUE(mounts_at("", "/proc").empty());
  EXPECT_TRUE(mounts_at("1 2 3 / /x rw", "/x").empty());
}

TEST(MountTable, unescapes_octal_and_nothing_else) {
  EXPECT_EQ(unescape_mount_path("a\\011b\\134040"), "a\tb\\040");
  EXPECT_EQ(unescape_mount_path("\\400\\08\\1"), "\\400\\08\\1");
  EXPECT_EQ(unescape_mount_path("\\303\\244"), "\303\244");
}

TEST(FuseConf, only_the_word_on_a_line_of_its_own_allows_others) {
  EXPECT_TRUE(user_allow_other("mount_max = 3\n  user_allow_other \r\n"));
  EXPECT_TRUE(user_allow_other("user_allow_other"));
  EXPECT_FALSE(user_allow_other("#user_allow_other\n"));
  EXPECT_FALSE(user_allow_other("user_allow_other = 0\nuser_allow_others\n"));
  EXPECT_FALSE(user_allow_other(""));
}

}  // namespace
}  // namespace flowfs::daemon
