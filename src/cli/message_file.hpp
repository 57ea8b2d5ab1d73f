// SPDX-License-Identifier: BSD-3-Clause
// An open message file of the tree, a message at a time: a member of a bus, or an end of a flow.
//
// Threads: one. Owns: the descriptor.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace flowfs::cli {

class MessageFile {
 public:
  // `flags`: those of open. Errors: those of opening the file.
  static Result<MessageFile> open(const std::string& path, int flags);

  // One whole message, valid until the next call. Errors: those of read, EINTR and EAGAIN among
  // them; ECONNABORTED there will be no more.
  Result<std::span<const std::byte>> receive();
  // Errors: those of write.
  Status send(std::span<const std::byte> message);

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit MessageFile(Fd fd);

  Fd fd_;
  std::vector<std::byte> buffer_;
};

// The same bytes as characters, and the other way.
std::string_view as_text(std::span<const std::byte> bytes);
std::span<const std::byte> as_message(std::string_view text);

}  // namespace flowfs::cli
