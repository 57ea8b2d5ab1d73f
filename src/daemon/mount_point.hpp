// SPDX-License-Identifier: BSD-3-Clause
// The place where the tree is mounted: whose it is, that it is free, and that nothing stays behind.
//
// Whether a daemon lives is decided by the lock file `DIR.lock` beside the mount, never by the
// mount: a stale one is recognised in mountinfo, as any call that touches it may hang.
//
// Threads: one. Start and end only; claiming may block for as long as fusermount3 runs.
// Owns: the lock file and the lock on it, and DIR if it made it.
// Invariants:
//   1. While a MountPoint exists, no other one exists for the same directory on this system.
//   2. Nothing here looks up DIR itself while anything is mounted on it.
//   3. After destruction nothing of flowfs is mounted on DIR, and what claim() made is gone.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>

#include "base/fd.hpp"

namespace flowfs::daemon {

class MountPoint {
 public:
  // Takes DIR (an absolute path): the lock first, then a stale mount is detached and the directory
  // made if it is missing. Errors, in words for people: a daemon lives there (with its pid), a
  // foreign mount, not a directory, and what the system refuses.
  static std::expected<MountPoint, std::string> claim(const std::string& directory);

  MountPoint(MountPoint&&) noexcept = default;
  MountPoint& operator=(MountPoint&&) = delete;
  ~MountPoint();

  // The path without symbolic links, as mountinfo will have it.
  [[nodiscard]] const std::string& path() const { return path_; }
  // Where memory may be handed out. Free: what a dead daemon left there, claim() has removed.
  [[nodiscard]] std::string socket_path() const { return path_ + ".sock"; }
  // Where VDE clients may plug in. What a dead daemon left there may still be there.
  [[nodiscard]] std::string vde_path() const { return path_ + ".vde"; }
  // How many mounts of dead daemons claim() found there.
  [[nodiscard]] int stale_mounts() const { return stale_mounts_; }

 private:
  MountPoint(std::string path, Fd lock);

  [[nodiscard]] bool sign_lock() const;
  std::expected<void, std::string> free_of_mounts();
  void remove_stale_socket() const;
  std::expected<void, std::string> make_directory();

  std::string path_;
  Fd lock_;
  bool made_directory_ = false;
  int stale_mounts_ = 0;
};

}  // namespace flowfs::daemon
