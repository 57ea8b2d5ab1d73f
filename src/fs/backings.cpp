// SPDX-License-Identifier: BSD-3-Clause
#include "fs/backings.hpp"

#include <sys/ioctl.h>

#include <cstdint>

namespace flowfs::fs {
namespace {

// Of <linux/fuse.h>, from protocol 7.40 (Linux 6.9) on.
struct BackingMap {
  std::int32_t fd;
  std::uint32_t flags;
  std::uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, std::uint32_t);

}  // namespace

void Backing::reset() {
  if (backings_ != nullptr && backings_->device_ >= 0) {
    auto id = static_cast<std::uint32_t>(id_);
    ioctl(backings_->device_, kBackingClose, &id);
  }
  backings_ = nullptr;
  id_ = 0;
}

Result<Backing> Backings::add(int memory) {
  if (device_ < 0) {
    return fail(EOPNOTSUPP, "passthrough is not in use");
  }
  BackingMap map{.fd = memory, .flags = 0, .padding = 0};
  const int id = ioctl(device_, kBackingOpen, &map);
  if (id <= 0) {
    return id < 0 ? fail_errno("registering a backing") : fail(EIO, "registering a backing");
  }
  return Backing(this, id);
}

}  // namespace flowfs::fs
