// SPDX-License-Identifier: BSD-3-Clause
#include "fs/message_rules.hpp"

#include <fcntl.h>

#include <cstring>

#include "flowfs/wire.h"

namespace flowfs::fs {

int MessageRules::check_write(const Transfer& transfer, std::size_t bytes) {
  if (transfer.offset != 0 && (transfer.flags & O_APPEND) == 0) {
    // The kernel splits a long write: its further parts begin where the part before ended.
    return transfer.offset == write_end_ ? EMSGSIZE : ESPIPE;
  }
  write_end_ = transfer.offset + bytes;
  return 0;
}

void MessageRules::ioctl(Replies& replies, Request request, unsigned command,
                         std::span<const std::byte> in, std::size_t out_size, std::uint64_t id) {
  if (command == FLOWFS_IOC_ID && out_size >= sizeof id) {
    fuse_reply_ioctl(request.raw, 0, &id, sizeof id);
  } else if (command == FLOWFS_IOC_PACKET && in.size() >= sizeof(std::uint32_t)) {
    std::uint32_t on = 0;
    std::memcpy(&on, in.data(), sizeof on);
    if (on > 1) {
      replies.error(request, EINVAL);
      return;
    }
    packet_mode_ = on == 1;
    fuse_reply_ioctl(request.raw, 0, nullptr, 0);
  } else {
    replies.error(request, ENOTTY);
  }
}

}  // namespace flowfs::fs
