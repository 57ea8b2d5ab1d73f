// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/mount_point.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/mount_table.hpp"

namespace flowfs::daemon {
namespace {

using testing::HasSubstr;

class MountPointTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "flowfs-mount-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = std::filesystem::canonical(pattern).string();
    directory_ = root_ + "/tree";
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  [[nodiscard]] bool exists(const std::string& path) const {
    return std::filesystem::exists(std::filesystem::symlink_status(path));
  }
  [[nodiscard]] std::string lock_text() const {
    std::ifstream file(directory_ + ".lock");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string root_;
  std::string directory_;
};

TEST_F(MountPointTest, makes_the_directory_and_the_lock_and_removes_both) {
  {
    const auto point = MountPoint::claim(directory_);
    ASSERT_TRUE(point.has_value()) << point.error();
    EXPECT_EQ(point->path(), directory_);
    EXPECT_EQ(point->stale_mounts(), 0);
    EXPECT_TRUE(std::filesystem::is_directory(directory_));
    EXPECT_THAT(lock_text(), testing::StartsWith(std::to_string(::getpid()) + "\n"));
    struct stat lock{};
    ASSERT_EQ(::stat((directory_ + ".lock").c_str(), &lock), 0);
    EXPECT_EQ(lock.st_mode & 07777, 0600U) << "others could lock it";
  }
  EXPECT_TRUE(std::filesystem::is_empty(root_));
}

TEST_F(MountPointTest, keeps_a_directory_that_was_there) {
  ASSERT_TRUE(std::filesystem::create_directory(directory_));
  {
    ASSERT_TRUE(MountPoint::claim(directory_ + "//").has_value());
  }
  EXPECT_TRUE(exists(directory_));
  EXPECT_FALSE(exists(directory_ + ".lock"));
}

TEST_F(MountPointTest, a_living_daemon_is_refused_by_its_pid) {
  const auto first = MountPoint::claim(directory_);
  ASSERT_TRUE(first.has_value()) << first.error();
  const auto second = MountPoint::claim(directory_);
  ASSERT_FALSE(second.has_value());
  EXPECT_THAT(second.error(), HasSubstr("pid " + std::to_string(::getpid())));
  EXPECT_TRUE(exists(directory_)) << "the refused one has touched nothing";
  EXPECT_TRUE(exists(directory_ + ".lock"));
}

TEST_F(MountPointTest, a_moved_one_is_the_only_one) {
  auto first = MountPoint::claim(directory_);
  ASSERT_TRUE(first.has_value()) << first.error();
  {
    const MountPoint second(std::move(*first));
    EXPECT_FALSE(MountPoint::claim(directory_).has_value());
  }
  EXPECT_FALSE(exists(directory_));
  EXPECT_TRUE(MountPoint::claim(directory_).has_value());
}

// What a killed daemon leaves: its lock file without the lock, and its directory.
TEST_F(MountPointTest, takes_over_what_a_killed_daemon_made) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto point = MountPoint::claim(directory_);
    ::kill(::getpid(), SIGKILL);
    ::_exit(point.has_value() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_THAT(lock_text(), testing::StartsWith(std::to_string(child) + "\n"));
  {
    const auto point = MountPoint::claim(directory_);
    ASSERT_TRUE(point.has_value()) << point.error();
    EXPECT_THAT(lock_text(), testing::StartsWith(std::to_string(::getpid()) + "\n"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(root_)) << "the directory of the dead daemon goes too";
}

// Between opening the file and locking it, the daemon before us may have removed it.
TEST_F(MountPointTest, a_lock_on_a_removed_file_does_not_count) {
  const Fd old(::open((directory_ + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::flock(old.get(), LOCK_EX), 0);
  ASSERT_FALSE(MountPoint::claim(directory_).has_value());
  ASSERT_EQ(::unlink((directory_ + ".lock").c_str()), 0);
  EXPECT_TRUE(MountPoint::claim(directory_).has_value());
}

TEST_F(MountPointTest, refuses_paths_that_are_no_place_to_mount) {
  EXPECT_THAT(MountPoint::claim("relative").error(), HasSubstr("absolute path"));
  EXPECT_THAT(MountPoint::claim("/").error(), HasSubstr("absolute path"));
  EXPECT_THAT(MountPoint::claim(root_ + "/..").error(), HasSubstr("absolute path"));
  EXPECT_THAT(MountPoint::claim(root_ + "/missing/tree").error(), HasSubstr("No such file"));
  std::ofstream(directory_) << "a file";
  EXPECT_THAT(MountPoint::claim(directory_).error(), HasSubstr("not a directory"));
  EXPECT_TRUE(exists(directory_));
  EXPECT_FALSE(exists(directory_ + ".lock"));
}

TEST_F(MountPointTest, refuses_a_lock_file_that_is_a_link) {
  std::ofstream(root_ + "/precious") << "text";
  std::filesystem::create_symlink(root_ + "/precious", directory_ + ".lock");
  EXPECT_FALSE(MountPoint::claim(directory_).has_value());
  EXPECT_EQ(std::filesystem::file_size(root_ + "/precious"), 4U);
}

TEST_F(MountPointTest, follows_links_to_the_directory) {
  ASSERT_TRUE(std::filesystem::create_directory(directory_));
  std::filesystem::create_symlink("tree", root_ + "/link");
  std::filesystem::create_symlink(root_ + "/link", root_ + "/link2");
  const auto point = MountPoint::claim(root_ + "/link2");
  ASSERT_TRUE(point.has_value()) << point.error();
  EXPECT_EQ(point->path(), directory_);
  std::filesystem::create_symlink("loop", root_ + "/loop");
  EXPECT_THAT(MountPoint::claim(root_ + "/loop").error(), HasSubstr("symbolic links"));
}

// With real mounts, in a mount namespace of the test's own.
class MountedTest : public MountPointTest {
 protected:
  static void SetUpTestSuite() {
    isolated_ = ::geteuid() == 0 && ::unshare(CLONE_NEWNS) == 0 &&
                ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }
  void SetUp() override {
    if (!isolated_) {
      GTEST_SKIP() << "needs root, to mount";
    }
    MountPointTest::SetUp();
    ASSERT_TRUE(std::filesystem::create_directory(directory_));
  }
  void TearDown() override {
    while (isolated_ && ::umount2(directory_.c_str(), MNT_DETACH) == 0) {
    }
    if (isolated_) {
      MountPointTest::TearDown();
    }
  }

  // A flowfs that nobody serves: for as long as the descriptor is open whoever touches it hangs,
  // and gets ENOTCONN afterwards.
  Fd mount_dead_flowfs() {
    Fd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    const std::string options =
        "fd=" + std::to_string(device.get()) + ",rootmode=40000,user_id=0,group_id=0";
    EXPECT_EQ(
        ::mount("flowfs", directory_.c_str(), "fuse.flowfs", MS_NOSUID | MS_NODEV, options.c_str()),
        0);
    return device;
  }
  [[nodiscard]] std::size_t mounts() const {
    return mounts_at(read_file("/proc/self/mountinfo").value_or(""), directory_).size();
  }

  static inline bool isolated_ = false;
};

TEST_F(MountedTest, detaches_the_mount_of_a_dead_daemon) {
  mount_dead_flowfs().reset();
  struct stat status{};
  ASSERT_EQ(::stat(directory_.c_str(), &status), -1);
  ASSERT_EQ(errno, ENOTCONN);
  const auto point = MountPoint::claim(directory_);
  ASSERT_TRUE(point.has_value()) << point.error();
  EXPECT_EQ(point->stale_mounts(), 1);
  EXPECT_EQ(::stat(directory_.c_str(), &status), 0);
  EXPECT_EQ(mounts(), 0U);
}

// Would hang if anything touched the mount.
TEST_F(MountedTest, never_touches_a_mount_to_find_out_whose_it_is) {
  const Fd one = mount_dead_flowfs();
  const auto point = MountPoint::claim(directory_);
  ASSERT_TRUE(point.has_value()) << point.error();
  EXPECT_EQ(point->stale_mounts(), 1);
}

TEST_F(MountedTest, refuses_a_foreign_mount) {
  ASSERT_EQ(::mount("disk", directory_.c_str(), "tmpfs", 0, "size=64k"), 0);
  const auto point = MountPoint::claim(directory_);
  ASSERT_FALSE(point.has_value());
  EXPECT_THAT(point.error(), HasSubstr("disk (tmpfs) is mounted there already"));
  EXPECT_EQ(mounts(), 1U);
  EXPECT_FALSE(exists(directory_ + ".lock"));
}

TEST_F(MountedTest, refuses_a_foreign_mount_below_a_stale_one) {
  ASSERT_EQ(::mount("disk", directory_.c_str(), "tmpfs", 0, "size=64k"), 0);
  mount_dead_flowfs().reset();
  EXPECT_THAT(MountPoint::claim(directory_).error(), HasSubstr("tmpfs"));
}

TEST_F(MountedTest, takes_down_what_a_server_left_mounted) {
  ASSERT_TRUE(std::filesystem::remove(directory_));
  {
    const auto point = MountPoint::claim(directory_);
    ASSERT_TRUE(point.has_value()) << point.error();
    mount_dead_flowfs().reset();
    EXPECT_EQ(mounts(), 1U);
  }
  EXPECT_EQ(mounts(), 0U);
  EXPECT_TRUE(std::filesystem::is_empty(root_));
}

}  // namespace
}  // namespace flowfs::daemon
