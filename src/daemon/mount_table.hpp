// SPDX-License-Identifier: BSD-3-Clause
// /proc/self/mountinfo, as text: what is mounted where, without touching any mount.
//
// Source: proc_pid_mountinfo(5).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flowfs::daemon {

struct MountEntry {
  std::string point;
  std::string type;
  std::string source;
};

// What our own mounts are called (src/fs mounts with subtype and fsname "flowfs").
[[nodiscard]] bool is_flowfs(const MountEntry& entry);

// The mounts at exactly `point`, the lowest first: the last one is what a look-up finds. Lines that
// are not as the manual says are passed over.
std::vector<MountEntry> mounts_at(std::string_view mountinfo, std::string_view point);

// Undoes the octal escapes of mountinfo (\040 for a space).
std::string unescape_mount_path(std::string_view text);

// Whether /etc/fuse.conf lets ordinary users mount with allow_other.
bool user_allow_other(std::string_view fuse_conf);

}  // namespace flowfs::daemon
