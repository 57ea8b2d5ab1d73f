// SPDX-License-Identifier: BSD-3-Clause
#include "cli/mount.hpp"

#include <gtest/gtest.h>

namespace flowfs::cli {
namespace {

constexpr std::string_view kInfo =
    "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
    "90 22 0:50 / /run/flowfs rw,nosuid shared:4 master:1 - fuse.flowfs flowfs rw,user_id=0\n"
    "91 22 0:51 / /mnt/with\\040blank rw - tmpfs none rw\n"
    "nonsense\n"
    "92 22 0:52 / /run/flowfs rw\n";

TEST(Mount, reads_mountinfo_with_any_number_of_tags) {
  const auto mounts = parse_mountinfo(kInfo);
  ASSERT_EQ(mounts.size(), 3U);
  EXPECT_EQ(mounts[0].type, "ext4");
  EXPECT_EQ(mounts[1].path, "/run/flowfs");
  EXPECT_EQ(mounts[1].type, "fuse.flowfs");
  EXPECT_EQ(mounts[1].source, "flowfs");
  EXPECT_EQ(mounts[1].options, "rw,user_id=0");
  EXPECT_EQ(mounts[2].path, "/mnt/with blank");
}

TEST(Mount, survives_lines_cut_anywhere) {
  for (std::size_t length = 0; length <= kInfo.size(); ++length) {
    EXPECT_LE(parse_mountinfo(kInfo.substr(0, length)).size(), 3U);
  }
}

TEST(Mount, keeps_a_backslash_that_escapes_nothing) {
  const auto mounts = parse_mountinfo("1 1 0:1 / /a\\b\\04 rw - tmpfs none rw\n");
  ASSERT_EQ(mounts.size(), 1U);
  EXPECT_EQ(mounts[0].path, "/a\\b\\04");
}

TEST(Mount, finds_the_topmost) {
  std::vector<MountPoint> mounts(2);
  mounts[0] = {.path = "/x", .type = "tmpfs", .source = "none", .options = "rw"};
  mounts[1] = {.path = "/x", .type = "fuse.flowfs", .source = "flowfs", .options = "rw"};
  EXPECT_TRUE(is_flowfs(*mounted_at(mounts, "/x/")));
  EXPECT_FALSE(is_flowfs(mounts[0]));
  EXPECT_EQ(mounted_at(mounts, "/y"), std::nullopt);
}

TEST(Mount, prefers_option_then_environment_then_the_usual_place) {
  const auto mounts = parse_mountinfo(kInfo);
  EXPECT_EQ(choose_mount("/a/", "/b", "/run/user/1", mounts), "/a");
  EXPECT_EQ(choose_mount("", "/b", "/run/user/1", mounts), "/b");
  EXPECT_EQ(choose_mount("", "", "/run/user/1", mounts), "/run/flowfs");
}

TEST(Mount, takes_the_personal_one_where_only_that_is_mounted) {
  const auto mounts = parse_mountinfo("1 1 0:1 / /run/user/1/flowfs rw - fuse.flowfs flowfs rw\n");
  EXPECT_EQ(choose_mount("", "", "/run/user/1", mounts), "/run/user/1/flowfs");
  EXPECT_EQ(choose_mount("", "", "/run/user/2", mounts), "/run/flowfs");
  EXPECT_EQ(choose_mount("", "", "", mounts), "/run/flowfs");
}

}  // namespace
}  // namespace flowfs::cli
