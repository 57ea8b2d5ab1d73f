// SPDX-License-Identifier: BSD-3-Clause
#include "cli/doctor_report.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cerrno>

namespace flowfs::cli {
namespace {

using testing::AllOf;
using testing::Each;
using testing::Field;
using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kEverything = 0x1ffffffffff;

Facts healthy() {
  Facts facts;
  facts.kernel_release = "6.18.44-1-amd64";
  facts.mount = "/run/flowfs";
  facts.health = MountHealth::serving;
  facts.mount_type = "fuse.flowfs";
  facts.version = KeyValues::parse_lines(
      "flowfs 0.1.0\ntree 1\nlayout 1\npassthrough yes\nfutex io_uring\n"
      "libfuse 3.17.2\nliburing 2.9\n");
  facts.built_libfuse = "3.17.2";
  facts.built_liburing = "2.9";
  facts.daemon =
      DaemonProcess{.pid = 17, .uid = 0, .capabilities = kEverything, .descriptors = 65536};
  facts.fuse_device = true;
  facts.fuse_device_writable = true;
  facts.io_uring_disabled = 0;
  facts.max_pages_limit = 4096;
  facts.default_timeout_s = 0;
  facts.max_timeout_s = 0;
  facts.user_allow_other = true;
  facts.fusermount3 = true;
  facts.flowfs_group = true;
  return facts;
}

Finding find(const Facts& facts, std::string_view what) {
  const auto findings = examine(facts);
  const auto found = std::ranges::find(findings, what, &Finding::what);
  return found == findings.end() ? Finding{Verdict::good, "absent", "", ""} : *found;
}

TEST(DoctorReport, finds_nothing_wrong_where_all_is_well) {
  const auto findings = examine(healthy());
  EXPECT_THAT(findings, Each(AllOf(Field(&Finding::verdict, Verdict::good),
                                   Field(&Finding::remedy, ""), Field(&Finding::state, Not("")))));
  EXPECT_TRUE(is_well(findings));
}

TEST(DoctorReport, whatever_is_not_good_has_a_remedy) {
  Facts worst;
  worst.kernel_release = "5.10.0";
  worst.mount = "/run/flowfs";
  worst.io_uring_disabled = 2;
  worst.max_pages_limit = 16;
  worst.max_timeout_s = 30;
  for (const MountHealth health :
       {MountHealth::not_mounted, MountHealth::foreign, MountHealth::serving, MountHealth::dead,
        MountHealth::hanging, MountHealth::refusing}) {
    worst.health = health;
    worst.health_error = EACCES;
    for (const Finding& finding : examine(worst)) {
      EXPECT_EQ(finding.verdict == Verdict::good, finding.remedy.empty()) << finding.what;
      EXPECT_NE(finding.state, "") << finding.what;
    }
    EXPECT_FALSE(is_well(examine(worst)));
  }
}

TEST(DoctorReport, a_daemon_that_does_not_serve_is_missing) {
  for (const MountHealth health :
       {MountHealth::not_mounted, MountHealth::foreign, MountHealth::dead, MountHealth::hanging,
        MountHealth::refusing}) {
    Facts facts = healthy();
    facts.health = health;
    facts.health_error = EIO;
    EXPECT_EQ(find(facts, "daemon").verdict, Verdict::missing);
    EXPECT_EQ(find(facts, "passthrough").what, "absent") << "nothing is known of it then";
    EXPECT_FALSE(is_well(examine(facts)));
  }
}

TEST(DoctorReport, refuses_a_tree_of_another_version) {
  Facts facts = healthy();
  facts.version = KeyValues::parse_lines("flowfs 9\ntree 2\n");
  EXPECT_EQ(find(facts, "tree").verdict, Verdict::missing);
}

TEST(DoctorReport, says_why_there_is_no_passthrough) {
  Facts facts = healthy();
  facts.version = KeyValues::parse_lines("tree 1\npassthrough no\nfutex io_uring\n");
  facts.daemon->capabilities = 0;
  facts.daemon->uid = 1000;
  EXPECT_THAT(find(facts, "passthrough").remedy, HasSubstr("started as root"));
  facts.daemon->uid = 0;
  EXPECT_THAT(find(facts, "passthrough").remedy, HasSubstr("lost CAP_SYS_ADMIN"));
  facts.kernel_release = "6.8.0";
  EXPECT_THAT(find(facts, "passthrough").remedy, HasSubstr("6.9"));
  facts.kernel_release = "6.9.0";
  facts.daemon->capabilities = kEverything;
  EXPECT_THAT(find(facts, "passthrough").remedy, HasSubstr("log"));
  facts.version = KeyValues::parse_lines("tree 1\npassthrough off\nfutex io_uring\n");
  EXPECT_THAT(find(facts, "passthrough").remedy, HasSubstr("passthrough = false"));
  EXPECT_TRUE(is_well(examine(facts))) << "all works without it, slower";
}

TEST(DoctorReport, says_how_memory_is_shared_without_passthrough) {
  Facts facts = healthy();
  EXPECT_EQ(find(facts, "socket").what, "absent") << "not needed";
  facts.version = KeyValues::parse_lines("tree 1\npassthrough no\nsocket yes\n");
  EXPECT_EQ(find(facts, "socket").verdict, Verdict::good);
  EXPECT_THAT(find(facts, "socket").state, HasSubstr("/run/flowfs.sock"));
  facts.version = KeyValues::parse_lines("tree 1\npassthrough no\nsocket no\n");
  EXPECT_EQ(find(facts, "socket").verdict, Verdict::note);
}

TEST(DoctorReport, says_that_flows_cannot_be_mapped) {
  Facts facts = healthy();
  EXPECT_EQ(find(facts, "direct").verdict, Verdict::good);
  facts.version = KeyValues::parse_lines("tree 1\npassthrough yes\ndirect no\n");
  EXPECT_EQ(find(facts, "direct").verdict, Verdict::note);
  EXPECT_THAT(find(facts, "direct").remedy, HasSubstr("direct = false"));
}

TEST(DoctorReport, futexes_in_threads_are_a_note) {
  Facts facts = healthy();
  facts.version = KeyValues::parse_lines("tree 1\npassthrough yes\nfutex threads\n");
  EXPECT_EQ(find(facts, "futex").verdict, Verdict::note);
  EXPECT_THAT(find(facts, "futex").state, HasSubstr("threads"));
}

TEST(DoctorReport, io_uring_forbidden_to_all_is_missing_to_users_only_where_one_asks) {
  Facts facts = healthy();
  facts.io_uring_disabled = 2;
  EXPECT_EQ(find(facts, "io_uring").verdict, Verdict::missing);
  facts.io_uring_disabled = 1;
  facts.caller = 0;
  EXPECT_EQ(find(facts, "io_uring").verdict, Verdict::note);
  facts.caller = 1000;
  EXPECT_EQ(find(facts, "io_uring").verdict, Verdict::missing);
}

TEST(DoctorReport, tells_how_long_messages_may_be_made) {
  Facts facts = healthy();
  for (const auto& [pages, most] : {std::pair{256U, "917504"}, std::pair{4096U, "16646144"}}) {
    facts.max_pages_limit = pages;
    const Finding found = find(facts, "mtu");
    EXPECT_EQ(found.verdict, Verdict::good);
    EXPECT_THAT(found.state, HasSubstr("at most 917504 bytes, or what daemon.longest_message"));
    EXPECT_THAT(found.state,
                HasSubstr(fmt::format("up to {} with fs.fuse.max_pages_limit={}", most, pages)));
  }
}

TEST(DoctorReport, too_few_pages_for_the_longest_message_are_missing) {
  Facts facts = healthy();
  facts.max_pages_limit = 255;
  EXPECT_EQ(find(facts, "mtu").verdict, Verdict::missing);
  EXPECT_THAT(find(facts, "mtu").remedy, HasSubstr("fs.fuse.max_pages_limit=256"));
}

TEST(DoctorReport, a_kernel_without_the_limit_of_pages_has_enough) {
  Facts facts = healthy();
  facts.max_pages_limit.reset();
  EXPECT_EQ(find(facts, "mtu").verdict, Verdict::note) << "6.18 has the sysctl: it is hidden";
  facts.kernel_release = "6.12.0";
  EXPECT_EQ(find(facts, "mtu").verdict, Verdict::good);
  EXPECT_THAT(find(facts, "mtu").state, HasSubstr("917504 bytes"));
}

TEST(DoctorReport, tells_of_a_timeout_that_ends_waits) {
  Facts facts = healthy();
  facts.max_timeout_s = 60;
  EXPECT_EQ(find(facts, "timeout").verdict, Verdict::note);
  EXPECT_THAT(find(facts, "timeout").state, HasSubstr("60 s"));
}

TEST(DoctorReport, reads_kernel_releases) {
  EXPECT_EQ(parse_kernel("6.18.44-fc"), (KernelVersion{6, 18}));
  EXPECT_EQ(parse_kernel("7"), (KernelVersion{7, 0}));
  EXPECT_EQ(parse_kernel("x"), (KernelVersion{0, 0}));
  EXPECT_LT(parse_kernel("6.9.1"), parse_kernel("6.13"));
}

TEST(DoctorReport, wraps_remedies_below_what_they_are_for) {
  const std::vector<Finding> findings{
      {Verdict::good, "kernel", "6.18", ""},
      {Verdict::missing, "daemon", "gone", "one two three four five six seven eight nine"}};
  EXPECT_EQ(render(findings, 53),
            "ok       kernel        6.18\n"
            "MISSING  daemon        gone\n"
            "                       one two three four five six\n"
            "                       seven eight nine\n");
}

TEST(DoctorReport, becomes_json) {
  Facts facts = healthy();
  facts.fuse_device = false;
  const auto object = as_json(examine(facts));
  EXPECT_EQ(object["well"], false);
  const auto fuse = std::ranges::find_if(
      object["findings"], [](const auto& finding) { return finding["what"] == "fuse"; });
  ASSERT_NE(fuse, object["findings"].end());
  EXPECT_EQ((*fuse)["verdict"], "missing");
}

}  // namespace
}  // namespace flowfs::cli
