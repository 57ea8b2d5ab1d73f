// SPDX-License-Identifier: BSD-3-Clause
#include "fs/access.hpp"

#include <algorithm>

namespace flowfs::fs {
namespace {

constexpr mode_t kGroupBits = 0070;

bool has(mode_t bits, std::uint16_t wanted) { return (bits & wanted) == wanted; }

bool is_member(const Caller& caller, gid_t group) {
  return caller.gid == group || std::ranges::find(caller.groups, group) != caller.groups.end();
}

// A list beyond the mode: of a named user the one entry decides, of groups any that grants all; the
// mask holds for both. Who is in a group of the list is nobody of the others.
bool list_permits(const Meta& meta, const Caller& caller, std::uint16_t wanted) {
  const bool masked = has((meta.mode & kGroupBits) >> 3, wanted);
  bool in_a_group = false;
  for (const AclEntry& entry : meta.acl) {
    switch (entry.tag) {
      case kAclUser:
        if (entry.id == caller.uid) {
          return masked && has(entry.perm, wanted);
        }
        break;
      case kAclGroupObj:
      case kAclGroup:
        if (is_member(caller, entry.tag == kAclGroup ? entry.id : meta.gid)) {
          if (has(entry.perm, wanted)) {
            return masked;
          }
          in_a_group = true;
        }
        break;
      default:
        break;
    }
  }
  return !in_a_group && has(meta.mode, wanted);
}

}  // namespace

bool permits(const Meta& meta, const Caller& caller, std::uint16_t wanted) {
  if (caller.uid == 0) {
    return true;
  }
  if (caller.uid == meta.uid) {
    return has(meta.mode >> 6, wanted);
  }
  // As the kernel has it, a list whose mask grants nothing is not looked at.
  if (!meta.acl.empty() && (meta.mode & kGroupBits) != 0) {
    return list_permits(meta, caller, wanted);
  }
  return has(is_member(caller, meta.gid) ? meta.mode >> 3 : meta.mode, wanted);
}

}  // namespace flowfs::fs
