// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/privileges.hpp"

#include <gtest/gtest.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "base/fd.hpp"

namespace flowfs::daemon {
namespace {

// In a process of its own: what is dropped does not come back.
bool holds_in_child(const std::function<bool()>& check) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(check() ? 0 : 1);
  }
  int status = 0;
  return ::waitpid(child, &status, 0) == child && status == 0;
}

std::string field(const std::string& name) {
  const std::string text = read_file("/proc/self/status").value_or("");
  const std::size_t at = text.find("\n" + name + ":\t");
  const std::size_t value = at + name.size() + 3;
  return at == std::string::npos ? "" : text.substr(value, text.find('\n', value) - value);
}

bool dropped_as_root() { return ::geteuid() == 0 && drop_privileges().has_value(); }

// CAP_NET_ADMIN (12), CAP_NET_RAW (13), CAP_SYS_ADMIN (21).
constexpr const char* kKept = "0000000000203000";
// And, in reserve, CAP_DAC_OVERRIDE (1).
constexpr const char* kPermitted = "0000000000203002";
constexpr const char* kNone = "0000000000000000";

class PrivilegesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "needs root, to have something to drop";
    }
  }
};

TEST_F(PrivilegesTest, keeps_what_it_needs_in_every_set) {
  EXPECT_TRUE(holds_in_child([] {
    return dropped_as_root() && field("CapEff") == kKept && field("CapPrm") == kPermitted &&
           field("CapBnd") == kKept && field("CapInh") == kNone && field("CapAmb") == kNone;
  }));
}

TEST_F(PrivilegesTest, no_exec_gains_any) {
  EXPECT_TRUE(holds_in_child([] { return dropped_as_root() && field("NoNewPrivs") == "1"; }));
  EXPECT_TRUE(holds_in_child([] {
    return dropped_as_root() &&
           std::system("grep -q '^CapEff:.0000000000203000$' /proc/self/status") == 0;
  }));
}

TEST_F(PrivilegesTest, what_was_dropped_is_refused) {
  EXPECT_TRUE(holds_in_child([] {
    return ::chown("/proc/self/exe", 1, 1) != EPERM && dropped_as_root() && ::setuid(1) != 0 &&
           errno == EPERM;
  }));
}

TEST_F(PrivilegesTest, stays_dumpable_and_uid_zero) {
  EXPECT_TRUE(holds_in_child(
      [] { return dropped_as_root() && ::prctl(PR_GET_DUMPABLE) == 1 && ::geteuid() == 0; }));
}

TEST_F(PrivilegesTest, works_twice) {
  EXPECT_TRUE(holds_in_child([] { return dropped_as_root() && dropped_as_root(); }));
}

TEST_F(PrivilegesTest, rootless_drops_all_and_leaves_setuid_helpers_working) {
  EXPECT_TRUE(holds_in_child([] {
    return drop_privileges_rootless().has_value() && field("CapEff") == kNone &&
           field("CapPrm") == kNone && field("NoNewPrivs") == "0";
  }));
}

TEST(DescriptorLimit, is_raised_to_the_hard_limit) {
  EXPECT_TRUE(holds_in_child([] {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
      return false;
    }
    limit.rlim_cur = 64;
    return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 &&
           raise_descriptor_limit().value_or(0) == limit.rlim_max &&
           ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == limit.rlim_max;
  }));
}

}  // namespace
}  // namespace flowfs::daemon
