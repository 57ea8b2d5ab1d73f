// SPDX-License-Identifier: BSD-3-Clause
// Where the tree is mounted, without touching it (a dead or hanging mount must not take flowctl
// with it).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flowfs::cli {

struct MountPoint {
  std::string path;
  std::string type;  // "fuse.flowfs"
  std::string source;
  std::string options;  // of the superblock
};

// The lines of /proc/self/mountinfo; what does not look like one is skipped. Paths are unescaped.
std::vector<MountPoint> parse_mountinfo(std::string_view text);
// The one of them that is on top at `path`.
std::optional<MountPoint> mounted_at(const std::vector<MountPoint>& mounts, std::string_view path);
bool is_flowfs(const MountPoint& mount);

// Where to look when --mount does not say: $FLOWFS_MOUNT, else /run/flowfs, else
// $XDG_RUNTIME_DIR/flowfs where only that is mounted. Empty strings are as good as unset.
std::string choose_mount(std::string_view option, std::string_view flowfs_mount,
                         std::string_view runtime_dir, const std::vector<MountPoint>& mounts);

// The two above for this process. A mountinfo that cannot be read counts as empty.
std::vector<MountPoint> current_mounts();
std::string find_mount(std::string_view option);

}  // namespace flowfs::cli
