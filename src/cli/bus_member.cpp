// SPDX-License-Identifier: BSD-3-Clause
#include "cli/bus_member.hpp"

#include <sys/ioctl.h>

#include "cli/key_value.hpp"
#include "flowfs/wire.h"

namespace flowfs::cli {

Result<BusMember> BusMember::join(const Common& common, const std::string& bus, int flags) {
  std::string folder = common.path("buses/" + bus);
  Result<MessageFile> file = open(folder + "/bus", flags);
  if (!file) {
    return std::unexpected(file.error());
  }
  return BusMember(std::move(*file), std::move(folder));
}

std::optional<std::uint64_t> BusMember::dropped() const {
  std::uint64_t port = 0;
  if (ioctl(fd(), FLOWFS_IOC_ID, &port) != 0) {
    return std::nullopt;
  }
  const auto stats = read_attribute(fmt::format("{}/port/{}/stats", folder_, port));
  return stats ? KeyValues::parse_lines(*stats).number("dropped") : std::nullopt;
}

}  // namespace flowfs::cli
