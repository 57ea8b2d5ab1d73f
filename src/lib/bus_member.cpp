// SPDX-License-Identifier: BSD-3-Clause
#include "lib/bus_member.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <string_view>

namespace flowfs::lib {
BusMember::Mapped::Mapped(std::unique_ptr<BusAttachment> made, const SpinBudget& spin)
    : attachment_(std::move(made)),
      sender_(std::make_unique<BusSender>(*attachment_, spin)),
      receiver_(std::make_unique<BusReceiver>(*attachment_, spin)) {}

void BusMember::Mapped::close_files() { attachment_->tx_fd.reset(); }

Result<std::unique_ptr<End>> BusMember::join(const std::string& mount, const std::string& bus,
                                             unsigned flags) {
  const std::string path = mount + "/buses/" + bus;
  Fd folder(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) {
    return fail_errno("bus");
  }
  auto message = open_message(folder.get(), "bus", access_of(flags), kAtOnce);
  if (!message) {
    return std::unexpected(message.error());
  }
  FileSender::Mtu mtu{.file = path + "/mtu", .key = ""};
  auto member = std::unique_ptr<BusMember>(
      new BusMember(std::move(*message), mount, std::move(folder), flags, std::move(mtu)));
  if (const Status up = member->establish(kAtOnce); !up) {
    return std::unexpected(up.error());
  }
  return member;
}

// As for a flow: whatever hinders mapping leaves the member in file mode.
Status BusMember::come_up(const Wait& /*wait*/) {
  std::unique_ptr<Mapped> sides;
  if ((flags() & FLOWFS_FILE_MODE) == 0) {
    if (auto made = BusAttachment::attach(mount(), folder_, id())) {
      const SpinBudget spin(spin_policy(flags()), shares_only_processor(0));
      sides = std::make_unique<Mapped>(std::move(*made), spin);
    }
  }
  settle_as(std::move(sides));
  return {};
}

Status BusMember::shut_down(bool receiving, bool sending) {
  if (Status ours = is_ours(); !ours) {
    return ours;
  }
  const std::string path = "port/" + std::to_string(id()) + "/ctl";
  const Fd ctl(::openat(folder_.get(), path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
  const Status opened = ctl ? Status{} : fail_errno("ctl");
  // Asked afterwards: whoever still has the number had it when the file was opened.
  const auto now = state();
  if (!now || *now == FLOWFS_STATE_DEALLOCATED) {
    return now ? Status{} : std::unexpected(now.error());  // no direction is left
  }
  const std::string_view verb = receiving && sending ? "close"
                                : receiving          ? "shutdown read"
                                                     : "shutdown write";
  if (!opened || ::write(ctl.get(), verb.data(), verb.size()) >= 0) {
    return opened;
  }
  // ESTALE: it was cut off a moment ago.
  return errno == ESTALE ? Status{} : fail_errno("ctl");
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

void BusMember::abandon() {
  folder_.reset();
  End::abandon();
}

Result<flowfs_peer> BusMember::peer() const {
  return fail(EOPNOTSUPP, "a bus has members, not a peer");
}

}  // namespace flowfs::lib
