// SPDX-License-Identifier: BSD-3-Clause
// A member of a bus, from join() until it is destroyed.
//
// Threads, errors, fork: as flowfs.h says.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "lib/end.hpp"

namespace flowfs::lib {

class BusMember final : public End {
 public:
  static Result<std::unique_ptr<End>> join(const std::string& mount, const std::string& bus,
                                           unsigned flags);

  Status shut_down(bool receiving, bool sending) override;
  [[nodiscard]] Result<std::uint32_t> state() const override;
  [[nodiscard]] Result<flowfs_peer> peer() const override;

 private:
  BusMember(MessageFile message, std::string mount, unsigned flags, FileSender::Mtu mtu)
      : End(std::move(message), std::move(mount), flags, std::move(mtu)) {}
  Status come_up(const Wait& wait) override;
};

}  // namespace flowfs::lib
