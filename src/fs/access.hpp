// SPDX-License-Identifier: BSD-3-Clause
// Whether somebody may, by the modes and lists of the tree: for who comes over a socket, where the
// kernel does not ask for us. Everything that comes through the mount the kernel has checked.
//
// Source: path_resolution(7), acl(5); the order of checks is the kernel's (posix_acl_permission).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "fs/meta.hpp"

namespace flowfs::fs {

// Who asks, as it was when it connected.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary
};

// Wanted rights, as in a mode.
inline constexpr std::uint16_t kMayRead = 4;
inline constexpr std::uint16_t kMayWrite = 2;
inline constexpr std::uint16_t kMaySearch = 1;

// Whether all of `wanted` is granted. Root always may.
bool permits(const Meta& meta, const Caller& caller, std::uint16_t wanted);

}  // namespace flowfs::fs
