// SPDX-License-Identifier: BSD-3-Clause
// users/UID/status, mapped once in a process however many ends it has: for most of them opening it
// would be a sixth of what setting up takes.
//
// Threads: any.
// Owns: the open file too. As long as it is open the daemon keeps the file, and the kernel the
// number of its filesystem, by which a later daemon on the same mount is told from this one.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "flowfs/wire.h"
#include "lib/living.hpp"

namespace flowfs::lib {

class StatusMap {
 public:
  StatusMap(Fd file, Mapping memory) : file_(std::move(file)), memory_(std::move(memory)) {}

  // A slot of the filesystem that `beside` was opened in, at `mount`; it keeps the file mapped.
  // Errors: those of open, statx and map_memory(); EPROTO no such slot.
  static Result<std::shared_ptr<const flowfs_status>> slot(const std::string& mount,
                                                           const Fd& beside, std::uint32_t uid,
                                                           std::uint32_t number);

  // By the filesystem and the uid.
  struct Key {
    std::uint32_t major;
    std::uint32_t minor;
    std::uint32_t uid;
    auto operator<=>(const Key&) const = default;
  };
  // Never destroyed, as the ends (fork.cpp).
  static Living<Key, StatusMap>& living();
  void close_file() { file_.reset(); }

 private:
  static Result<std::shared_ptr<StatusMap>> open(const std::string& mount, std::uint32_t uid);
  [[nodiscard]] std::span<const flowfs_status> slots() const {
    return {reinterpret_cast<const flowfs_status*>(memory_.data()),
            memory_.size() / sizeof(flowfs_status)};
  }

  Fd file_;
  Mapping memory_;
};

}  // namespace flowfs::lib
