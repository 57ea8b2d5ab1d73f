// SPDX-License-Identifier: BSD-3-Clause
#include "cli/doctor_report.hpp"

#include <fmt/format.h>
#include <linux/capability.h>

#include <algorithm>
#include <charconv>

#include "cli/explain.hpp"
#include "cli/table.hpp"

namespace flowfs::cli {
namespace {

constexpr KernelVersion kPassthroughSince{6, 9};
constexpr KernelVersion kFutexRingSince{6, 7};
constexpr KernelVersion kPagesLimitSince{6, 13};
constexpr std::string_view kTreeVersion = "1";
constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kPagesOfSegments = 32;   // 16 of a writev, at each end of each
constexpr std::uint64_t kUsualPages = 256;       // 1 MiB a request, for an mtu of 917504
constexpr std::uint64_t kFewDescriptors = 4096;  // a mapped flow needs two or three
constexpr std::uint64_t kSysAdmin = std::uint64_t{1} << CAP_SYS_ADMIN;
constexpr std::uint64_t kNetwork = std::uint64_t{1} << CAP_NET_ADMIN | std::uint64_t{1}
                                                                           << CAP_NET_RAW;

using Findings = std::vector<Finding>;

bool is_serving(const Facts& facts) { return facts.health == MountHealth::serving; }

std::string_view said(const Facts& facts, std::string_view key) {
  return facts.version.find(key).value_or("");
}

Finding daemon(const Facts& facts) {
  const std::string& mount = facts.mount;
  switch (facts.health) {
    case MountHealth::serving:
      return {Verdict::good, "daemon",
              fmt::format("flowfs {} serves {}", said(facts, "flowfs"), mount), ""};
    case MountHealth::not_mounted:
      return {Verdict::missing, "daemon", fmt::format("nothing is mounted at {}", mount),
              "start it: systemctl start flowfsd, or flowfsd --user without root; another folder: "
              "--mount DIR or FLOWFS_MOUNT"};
    case MountHealth::foreign:
      return {Verdict::missing, "daemon", fmt::format("{} at {}", facts.mount_type, mount),
              "that is not flowfs; give its folder with --mount DIR or FLOWFS_MOUNT"};
    case MountHealth::dead:
      return {Verdict::missing, "daemon",
              fmt::format("{} is mounted but its daemon has gone", mount),
              "start flowfsd again: it detaches the dead mount first"};
    case MountHealth::hanging:
      return {Verdict::missing, "daemon", fmt::format("{} does not answer", mount),
              "look at flowfsd: journalctl -u flowfsd; if it is stopped, kill -CONT it; else kill "
              "it and start it again"};
    case MountHealth::refusing:
      break;
  }
  const bool theirs = facts.health_error == EACCES || facts.health_error == EPERM;
  return {Verdict::missing, "daemon",
          fmt::format("cannot read {}/version: {}", mount, errno_in_words(facts.health_error)),
          theirs ? "another user mounted it without allow_other: use your own (flowfsd --user), or "
                   "let that user set user_allow_other in /etc/fuse.conf"
                 : "look at flowfsd: journalctl -u flowfsd"};
}

Finding tree(const Facts& facts) {
  const std::string_view tree = said(facts, "tree");
  if (tree == kTreeVersion) {
    return {Verdict::good, "tree",
            fmt::format("version {}, layout {}", tree, said(facts, "layout")), ""};
  }
  return {Verdict::missing, "tree", fmt::format("version {}", tree.empty() ? "unknown" : tree),
          fmt::format("this flowctl knows version {}: use the one that came with the daemon",
                      kTreeVersion)};
}

Finding kernel(const Facts& facts) {
  const KernelVersion version = parse_kernel(facts.kernel_release);
  if (version >= kPassthroughSince) {
    return {Verdict::good, "kernel", facts.kernel_release, ""};
  }
  if (version >= kFutexRingSince) {
    return {Verdict::note, "kernel", facts.kernel_release,
            "from 6.9 shared memory can be mapped through the mount"};
  }
  return {Verdict::note, "kernel", facts.kernel_release,
          "from 6.7 io_uring waits on futexes, from 6.9 shared memory can be mapped through the "
          "mount"};
}

Finding library(const Facts& facts, std::string_view key, std::string_view built) {
  const std::string_view running = said(facts, key);
  return {Verdict::good, std::string(key),
          running.empty() ? fmt::format("built with {}; the daemon does not say", built)
                          : fmt::format("{} in the daemon", running),
          ""};
}

std::string why_no_passthrough(const Facts& facts) {
  if (said(facts, "passthrough") == "off") {
    return "[daemon] passthrough = false in its configuration";
  }
  if (parse_kernel(facts.kernel_release) < kPassthroughSince) {
    return "it needs a kernel from 6.9";
  }
  if (facts.daemon && (facts.daemon->capabilities & kSysAdmin) == 0) {
    return facts.daemon->uid == 0 ? "the daemon has lost CAP_SYS_ADMIN: leave it to it in the unit"
                                  : "only a daemon started as root has it (CAP_SYS_ADMIN)";
  }
  return "the daemon has CAP_SYS_ADMIN and the kernel is new enough, as far as can be seen: look "
         "for `passthrough` in its log";
}

Finding passthrough(const Facts& facts) {
  if (said(facts, "passthrough") == "yes") {
    return {Verdict::good, "passthrough", "in use: shared memory is mapped through the mount", ""};
  }
  return {Verdict::note, "passthrough", "not in use: memory cannot be mapped through the mount",
          why_no_passthrough(facts)};
}

// How programs come to shared memory where that is not through the mount.
Finding memory_socket(const Facts& facts) {
  if (said(facts, "socket") == "yes") {
    return {Verdict::good, "socket",
            fmt::format("in use: shared memory is handed out over {}.sock", facts.mount), ""};
  }
  return {
      Verdict::note, "socket", "not in use: flows go through the daemon",
      fmt::format("something else lies at {}.sock, or it could not be made: look for `hand out` "
                  "in the daemon's log",
                  facts.mount)};
}

Finding direct(const Facts& facts) {
  if (said(facts, "direct") != "no") {
    return {Verdict::good, "direct", "programs may map their flows", ""};
  }
  return {Verdict::note, "direct", "everything goes through the daemon",
          "[daemon] direct = false in its configuration"};
}

Finding futex(const Facts& facts) {
  const std::string_view kind = said(facts, "futex");
  if (kind == "io_uring") {
    return {Verdict::good, "futex", "waited for in io_uring", ""};
  }
  return {Verdict::note, "futex", fmt::format("waited for in {}", kind.empty() ? "?" : kind),
          parse_kernel(facts.kernel_release) < kFutexRingSince
              ? "a kernel from 6.7 does it in io_uring, without threads"
              : "the kernel is new enough; look for `futex` in the daemon's log"};
}

Finding io_uring(const Facts& facts) {
  if (!facts.io_uring_disabled) {
    return {Verdict::good, "io_uring", "no sysctl forbids it", ""};
  }
  if (*facts.io_uring_disabled == 0) {
    return {Verdict::good, "io_uring", "allowed", ""};
  }
  const bool all = *facts.io_uring_disabled >= 2;
  return {all || facts.caller != 0 ? Verdict::missing : Verdict::note, "io_uring",
          all ? "forbidden to everybody" : "forbidden to processes without privileges",
          all ? "sysctl kernel.io_uring_disabled=0 (or 1, for a daemon started as root)"
              : "sysctl kernel.io_uring_disabled=0, for flowfsd --user"};
}

Finding fuse_device(const Facts& facts) {
  if (!facts.fuse_device) {
    return {Verdict::missing, "fuse", "/dev/fuse is not there",
            "modprobe fuse; in a container: --device /dev/fuse"};
  }
  if (!facts.fuse_device_writable) {
    return {Verdict::note, "fuse", "/dev/fuse is there, but not for you",
            "chmod 666 /dev/fuse, for flowfsd --user"};
  }
  return {Verdict::good, "fuse", "/dev/fuse can be opened", ""};
}

Finding privileges(const Facts& facts) {
  if (!facts.daemon) {
    return {Verdict::note, "privileges", "unknown: no process named flowfsd was found",
            "run doctor where the daemon runs (another PID namespace?)"};
  }
  const DaemonProcess& daemon = *facts.daemon;
  const bool admin = (daemon.capabilities & kSysAdmin) != 0;
  const std::string who = fmt::format("pid {}, uid {}, {}", daemon.pid, daemon.uid,
                                      admin ? "CAP_SYS_ADMIN" : "without CAP_SYS_ADMIN");
  if (admin && (daemon.capabilities & kNetwork) == kNetwork) {
    return {Verdict::good, "privileges", who + ", CAP_NET_ADMIN, CAP_NET_RAW", ""};
  }
  if (admin) {
    return {
        Verdict::note, "privileges", who,
        "without CAP_NET_ADMIN and CAP_NET_RAW no interface can be attached to a bus: leave them "
        "to the daemon in the unit"};
  }
  return {Verdict::note, "privileges", who,
          "rootless: everything works but mapping through the mount, which needs a daemon started "
          "as root"};
}

Finding descriptors(const Facts& facts) {
  const std::uint64_t limit = facts.daemon->descriptors;
  if (limit >= kFewDescriptors) {
    return {Verdict::good, "descriptors", fmt::format("{} for the daemon", limit), ""};
  }
  return {Verdict::note, "descriptors", fmt::format("{} for the daemon", limit),
          "raise LimitNOFILE= in its unit, or ulimit -n before it starts"};
}

Finding longest_message(const Facts& facts) {
  constexpr std::string_view kMost = "a message has at most 917504";
  if (!facts.max_pages_limit) {
    if (parse_kernel(facts.kernel_release) < kPagesLimitSince) {
      return {Verdict::good, "mtu", fmt::format("{} bytes", kMost), ""};
    }
    return {Verdict::note, "mtu",
            fmt::format("{} bytes; fs.fuse.max_pages_limit is unknown", kMost),
            "the fuse module is not loaded yet, or fs.fuse is hidden here"};
  }
  const std::uint64_t pages = *facts.max_pages_limit;
  if (pages >= kUsualPages) {
    return {Verdict::good, "mtu",
            fmt::format("{} bytes, or what daemon.longest_message of flowfsd.toml(5) says: up to "
                        "{} with fs.fuse.max_pages_limit={}; a higher limit allows longer ones",
                        kMost, (pages - kPagesOfSegments) * kPageBytes, pages),
            ""};
  }
  std::string state = fmt::format("fs.fuse.max_pages_limit is {}: a request has {} bytes", pages,
                                  pages * kPageBytes);
  return {Verdict::missing, "mtu", std::move(state),
          fmt::format("sysctl fs.fuse.max_pages_limit={}, then start flowfsd again: messages up to "
                      "917504 bytes need it",
                      kUsualPages)};
}

Finding request_timeout(const Facts& facts) {
  const std::uint64_t maximum = facts.max_timeout_s.value_or(0);
  const std::uint64_t usual = facts.default_timeout_s.value_or(0);
  if (maximum == 0 && usual == 0) {
    return {Verdict::good, "timeout", "FUSE requests may wait for ever", ""};
  }
  return {
      Verdict::note, "timeout",
      fmt::format("fs.fuse.default_request_timeout {} s, max_request_timeout {} s", usual, maximum),
      "waits end with EINTR before that; sysctl both to 0 for waits without an end"};
}

Finding allow_other(const Facts& facts) {
  if (facts.user_allow_other) {
    return {Verdict::good, "fuse.conf", "user_allow_other is set", ""};
  }
  return {Verdict::note, "fuse.conf", "user_allow_other is not set",
          "matters for flowfsd --user alone: without it nobody else, root included, sees that "
          "tree; add a line user_allow_other to /etc/fuse.conf"};
}

Finding mount_helper(const Facts& facts) {
  if (facts.fusermount3) {
    return {Verdict::good, "fusermount3", "installed", ""};
  }
  return {Verdict::note, "fusermount3", "not installed",
          "needed by flowfsd --user alone: apt install fuse3"};
}

Finding group(const Facts& facts) {
  if (!facts.flowfs_group) {
    return {Verdict::note, "group", "there is no group flowfs",
            "groupadd --system flowfs: its members share the pool pools/shared with root"};
  }
  return {Verdict::good, "group",
          facts.in_flowfs_group ? "flowfs, and you are in it" : "flowfs; you are not in it", ""};
}

std::string_view word(Verdict verdict) {
  switch (verdict) {
    case Verdict::good:
      return "ok";
    case Verdict::note:
      return "note";
    case Verdict::missing:
      break;
  }
  return "MISSING";
}

// Lines of at most `width` characters, broken at blanks.
std::vector<std::string> wrap(std::string_view text, std::size_t width) {
  std::vector<std::string> lines;
  while (text.size() > width) {
    std::size_t end = text.rfind(' ', width);
    if (end == std::string_view::npos || end == 0) {
      end = std::min(text.find(' '), text.size());
    }
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (!text.empty()) {
    lines.emplace_back(text);
  }
  return lines;
}

}  // namespace

KernelVersion parse_kernel(std::string_view release) {
  const auto number = [&release] {
    unsigned value = 0;
    const auto [stop, error] =
        std::from_chars(release.data(), release.data() + release.size(), value);
    release.remove_prefix(static_cast<std::size_t>(stop - release.data()));
    release.remove_prefix(release.starts_with('.') ? 1 : 0);
    return error == std::errc{} ? value : 0;
  };
  KernelVersion version;
  version.major = number();
  version.minor = number();
  return version;
}

std::vector<Finding> examine(const Facts& facts) {
  Findings findings{daemon(facts)};
  if (is_serving(facts)) {
    findings.push_back(tree(facts));
  }
  findings.push_back(kernel(facts));
  findings.push_back(library(facts, "libfuse", facts.built_libfuse));
  findings.push_back(library(facts, "liburing", facts.built_liburing));
  findings.push_back(fuse_device(facts));
  findings.push_back(io_uring(facts));
  if (is_serving(facts)) {
    findings.push_back(passthrough(facts));
    if (said(facts, "passthrough") != "yes") {
      findings.push_back(memory_socket(facts));
    }
    findings.push_back(direct(facts));
    findings.push_back(futex(facts));
    findings.push_back(privileges(facts));
    if (facts.daemon) {
      findings.push_back(descriptors(facts));
    }
  }
  findings.push_back(longest_message(facts));
  findings.push_back(request_timeout(facts));
  findings.push_back(allow_other(facts));
  findings.push_back(mount_helper(facts));
  findings.push_back(group(facts));
  return findings;
}

bool is_well(const std::vector<Finding>& findings) {
  return std::ranges::none_of(
      findings, [](const Finding& finding) { return finding.verdict == Verdict::missing; });
}

std::string render(const std::vector<Finding>& findings, std::size_t width) {
  constexpr std::size_t kIndent = 23;
  constexpr std::size_t kNarrowest = 30;
  const std::size_t room =
      width == 0 ? std::string::npos : std::max(width - std::min(width, kIndent), kNarrowest);
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<8} {:<12}  {}\n", word(finding.verdict), finding.what, finding.state);
    for (const std::string& line : wrap(finding.remedy, room)) {
      text += fmt::format("{:<{}}{}\n", "", kIndent, line);
    }
  }
  return text;
}

nlohmann::ordered_json as_json(const std::vector<Finding>& findings) {
  nlohmann::ordered_json object{{"well", is_well(findings)},
                                {"findings", nlohmann::ordered_json::array()}};
  for (const Finding& finding : findings) {
    const std::string_view verdict =
        finding.verdict == Verdict::missing ? "missing" : word(finding.verdict);
    object["findings"].push_back({{"what", finding.what},
                                  {"verdict", verdict},
                                  {"state", finding.state},
                                  {"remedy", finding.remedy}});
  }
  return object;
}

}  // namespace flowfs::cli
