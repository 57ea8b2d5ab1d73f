// SPDX-License-Identifier: BSD-3-Clause
#include "cli/message_file.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "cli/command.hpp"
#include "flowfs/wire.h"

namespace flowfs::cli {
namespace {

// The kernel pins the whole of a buffer for each read, so it begins with what most messages need.
constexpr std::size_t kFirstBuffer = 65536;
constexpr std::size_t kLargestBuffer = std::size_t{1} << 20;  // of one read through the mount

}  // namespace

MessageFile::MessageFile(Fd fd) : fd_(std::move(fd)), buffer_(kFirstBuffer) {}

Result<MessageFile> MessageFile::open(const std::string& path, int flags) {
  Result<Fd> fd = open_file(path, flags);
  if (!fd) {
    return std::unexpected(fd.error());
  }
  std::uint32_t whole = 1;  // a message that does not fit is refused, not parted
  if ((flags & O_ACCMODE) != O_WRONLY && ioctl(fd->get(), FLOWFS_IOC_PACKET, &whole) != 0) {
    return fail_errno("ioctl");
  }
  return MessageFile(std::move(*fd));
}

Result<std::span<const std::byte>> MessageFile::receive() {
  for (;;) {
    const ssize_t bytes = read(fd_.get(), buffer_.data(), buffer_.size());
    if (bytes > 0) {
      return std::span(buffer_).first(static_cast<std::size_t>(bytes));
    }
    if (bytes == 0) {
      return fail(ECONNABORTED, "read");
    }
    if (errno != EMSGSIZE || buffer_.size() >= kLargestBuffer) {
      return fail_errno("read");
    }
    buffer_.resize(buffer_.size() * 2);
  }
}

Status MessageFile::send(std::span<const std::byte> message) {
  return write(fd_.get(), message.data(), message.size()) >= 0 ? Status() : fail_errno("write");
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> as_message(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace flowfs::cli
