// SPDX-License-Identifier: BSD-3-Clause
#include "lib/bus_member.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>

namespace flowfs::lib {
namespace {

int access_of(unsigned flags) {
  if ((flags & FLOWFS_RECEIVE_ONLY) != 0) {
    return O_RDONLY;
  }
  return (flags & FLOWFS_SEND_ONLY) != 0 ? O_WRONLY : O_RDWR;
}

}  // namespace

Result<std::unique_ptr<End>> BusMember::join(const std::string& mount, const std::string& bus,
                                             unsigned flags) {
  constexpr Wait kAtOnce{.blocks = false, .deadline = kNever};
  const std::string folder = mount + "/buses/" + bus;
  auto message = open_message(folder + "/bus", access_of(flags), kAtOnce);
  if (!message) {
    return std::unexpected(message.error());
  }
  FileSender::Mtu mtu{.file = folder + "/mtu", .key = ""};
  auto member =
      std::unique_ptr<BusMember>(new BusMember(std::move(*message), mount, flags, std::move(mtu)));
  if (const Status up = member->establish(kAtOnce); !up) {
    return std::unexpected(up.error());
  }
  return member;
}

Status BusMember::come_up(const Wait& /*wait*/) {
  settle_as(nullptr);
  return {};
}

Status BusMember::shut_down(bool /*receiving*/, bool /*sending*/) {
  return fail(EOPNOTSUPP, "a bus has members, not two ends");
}

// Who was cut off has no number any more.
Result<std::uint32_t> BusMember::state() const {
  if (const Status ours = is_ours(); !ours) {
    return std::unexpected(ours.error());
  }
  std::uint64_t port = 0;
  if (::ioctl(message(), FLOWFS_IOC_ID, &port) != 0) {
    return fail_errno("ioctl");
  }
  return port != 0 ? FLOWFS_STATE_ALLOCATED : FLOWFS_STATE_DEALLOCATED;
}

Result<flowfs_peer> BusMember::peer() const {
  return fail(EOPNOTSUPP, "a bus has members, not a peer");
}

}  // namespace flowfs::lib
