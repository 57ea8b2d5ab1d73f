// SPDX-License-Identifier: BSD-3-Clause
// What `flowctl doctor` finds, from facts that something else gathered. Pure, so that machines we
// do not have can be tested.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/key_value.hpp"

namespace flowfs::cli {

struct KernelVersion {
  unsigned major = 0;
  unsigned minor = 0;
  auto operator<=>(const KernelVersion&) const = default;
};
// "6.18.44-something" is 6.18; what cannot be read is 0.0.
KernelVersion parse_kernel(std::string_view release);

// What asking for DIR/version came to.
enum class MountHealth : std::uint8_t {
  not_mounted,
  foreign,  // something is mounted there, but not flowfs
  serving,
  dead,      // ENOTCONN: its daemon has gone
  hanging,   // no answer in time
  refusing,  // another error
};

// The running daemon's process, where it could be found.
struct DaemonProcess {
  pid_t pid = 0;
  uid_t uid = 0;
  std::uint64_t capabilities = 0;  // effective
  std::uint64_t descriptors = 0;   // soft RLIMIT_NOFILE
};

struct Facts {
  std::string kernel_release;
  std::string mount;
  MountHealth health = MountHealth::not_mounted;
  int health_error = 0;  // refusing
  std::string mount_type;
  KeyValues version;  // the tree's `version`, where serving
  std::string built_libfuse;
  std::string built_liburing;
  std::optional<DaemonProcess> daemon;
  bool fuse_device = false;                        // /dev/fuse is there
  bool fuse_device_writable = false;               // by the caller
  std::optional<std::uint64_t> io_uring_disabled;  // kernel.io_uring_disabled
  std::optional<std::uint64_t> max_pages_limit;    // fs.fuse.max_pages_limit
  std::optional<std::uint64_t> default_timeout_s;  // fs.fuse.default_request_timeout
  std::optional<std::uint64_t> max_timeout_s;      // fs.fuse.max_request_timeout
  bool user_allow_other = false;                   // /etc/fuse.conf
  bool fusermount3 = false;
  bool flowfs_group = false;
  bool in_flowfs_group = false;  // the caller
  uid_t caller = 0;
};

enum class Verdict : std::uint8_t {
  good,
  note,     // works; this is how it could be better
  missing,  // matters: the exit code says so
};

struct Finding {
  Verdict verdict = Verdict::good;
  std::string what;    // "passthrough"
  std::string state;   // what is in use
  std::string remedy;  // what is missing and how to get it; empty when good
};

std::vector<Finding> examine(const Facts& facts);
bool is_well(const std::vector<Finding>& findings);

std::string render(const std::vector<Finding>& findings, std::size_t width);
nlohmann::ordered_json as_json(const std::vector<Finding>& findings);

}  // namespace flowfs::cli
