// SPDX-License-Identifier: BSD-3-Clause
// flowctl as a member of a bus, from join() until it is destroyed.
//
// Threads: one. Owns: the descriptor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/command.hpp"

namespace flowfs::cli {

class BusMember {
 public:
  // `flags`: those of open. Errors: those of opening `bus`.
  static Result<BusMember> join(const Common& common, const std::string& bus, int flags);

  // One whole message, valid until the next call. Errors: those of read, EINTR and EAGAIN among
  // them; ECONNABORTED this is no member any more.
  Result<std::span<const std::byte>> receive();
  // Errors: those of write.
  Status send(std::span<const std::byte> message);

  [[nodiscard]] int fd() const { return fd_.get(); }
  // What it was too slow for; nullopt where that cannot be read.
  [[nodiscard]] std::optional<std::uint64_t> dropped() const;

 private:
  BusMember(Fd fd, std::string folder);

  Fd fd_;
  std::string folder_;
  std::vector<std::byte> buffer_;
};

// The same bytes as characters, and the other way.
std::string_view as_text(std::span<const std::byte> bytes);
std::span<const std::byte> as_message(std::string_view text);

}  // namespace flowfs::cli
