// SPDX-License-Identifier: BSD-3-Clause
// What all message files do alike, whatever is behind them: one for each open file description.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/file.hpp"

namespace flowfs::fs {

class MessageRules {
 public:
  // The errno for a WRITE that is no message of its own: EMSGSIZE a further part of one that the
  // kernel has split, ESPIPE another offset. 0: it is one.
  int check_write(const Transfer& transfer, std::size_t bytes);

  // FLOWFS_IOC_ID, answered with `id`, and FLOWFS_IOC_PACKET; ENOTTY for others.
  void ioctl(Replies& replies, Request request, unsigned command, std::span<const std::byte> in,
             std::size_t out_size, std::uint64_t id);

  // Short reads are refused and leave the message.
  [[nodiscard]] bool packet_mode() const { return packet_mode_; }

 private:
  bool packet_mode_ = false;
  std::uint64_t write_end_ = 0;  // offset just behind the last WRITE: a split write goes on there
};

}  // namespace flowfs::fs
