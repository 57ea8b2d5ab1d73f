// SPDX-License-Identifier: BSD-3-Clause
// flowctl as a member of a bus, from join() until it is destroyed.
//
// Threads: one. Owns: the descriptor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/command.hpp"
#include "cli/message_file.hpp"

namespace flowfs::cli {

class BusMember : public MessageFile {
 public:
  // `flags`: those of open. Errors: those of opening `bus`.
  static Result<BusMember> join(const Common& common, const std::string& bus, int flags);

  // What it was too slow for; nullopt where that cannot be read.
  [[nodiscard]] std::optional<std::uint64_t> dropped() const;

 private:
  BusMember(MessageFile file, std::string folder)
      : MessageFile(std::move(file)), folder_(std::move(folder)) {}

  std::string folder_;
};

}  // namespace flowfs::cli
