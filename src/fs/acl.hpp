// SPDX-License-Identifier: BSD-3-Clause
// POSIX access control lists: the extended attribute's bytes, and how a list and a mode keep in
// step.
//
// The kernel checks access; this only keeps the lists, with tmpfs as the model.
// Source: acl(5); POSIX 1003.1e draft 17.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.hpp"

namespace flowfs::fs {

inline constexpr std::uint16_t kAclUserObj = 0x01;
inline constexpr std::uint16_t kAclUser = 0x02;
inline constexpr std::uint16_t kAclGroupObj = 0x04;
inline constexpr std::uint16_t kAclGroup = 0x08;
inline constexpr std::uint16_t kAclMask = 0x10;
inline constexpr std::uint16_t kAclOther = 0x20;

struct AclEntry {
  std::uint16_t tag = 0;   // kAcl...
  std::uint16_t perm = 0;  // rwx
  std::uint32_t id = 0;    // uid or gid of USER and GROUP
};

// Either empty (the mode says it all) or a valid list with a mask.
using Acl = std::vector<AclEntry>;

inline constexpr const char* kAccessAclName = "system.posix_acl_access";
inline constexpr const char* kDefaultAclName = "system.posix_acl_default";

// Parses the attribute's bytes. EINVAL for anything malformed; EOPNOTSUPP for another version.
Result<Acl> parse_acl(std::span<const std::byte> bytes);
std::vector<std::byte> format_acl(const Acl& acl);

// Applies a list to a mode, as tmpfs does: returns the new permission bits. A list that says no
// more than a mode does becomes empty.
mode_t apply_acl(Acl& acl, mode_t mode);

// chmod on a node that has a list: rewrites its owner, mask (or group) and other entries.
void chmod_acl(Acl& acl, mode_t mode);

}  // namespace flowfs::fs
