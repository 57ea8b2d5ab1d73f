// SPDX-License-Identifier: BSD-3-Clause
// What an end in mapped mode holds: its tx, its peer's segment, its status slot.
//
// Threads: attach() and map_peer() any; the status words any.
// Errors: every failure of attach() means that the end stays in file mode.
// Owns: the tx descriptor, whose closing puts the end back into file mode, and the mappings.
// Peer death: shows in the status slot, which the daemon alone writes.
#pragma once

#include <memory>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "flowfs/wire.h"
#include "pool/segment.hpp"

namespace flowfs::lib {

// One of the peer's segments, as rx showed it. Each direction keeps the one it works with.
struct PeerSegment {
  Mapping mapping;
  pool::Generation generation{};

  [[nodiscard]] const flowfs_segment& header() const;
};

class Attachment {
 public:
  // `message` is the end's message descriptor; it is polled for where the daemon says "not yet".
  static Result<std::unique_ptr<Attachment>> attach(const std::string& mount, std::uint64_t id,
                                                    int message);

  // Members go in reverse: unmapped before tx is closed.
  Fd tx_fd;
  std::string folder;
  flowfs_attach answer{};
  pool::Geometry geometry;
  Mapping tx;
  Mapping status_file;
  // The one of answer.peer_generation, where both directions begin.
  std::shared_ptr<const PeerSegment> first_peer;

  [[nodiscard]] flowfs_segment& own() const;
  [[nodiscard]] const flowfs_status& status() const;
  [[nodiscard]] pool::Generation peer_generation() const;

  // The segment that rx opens now.
  [[nodiscard]] Result<std::shared_ptr<const PeerSegment>> map_peer() const;

 private:
  Attachment() = default;
  static Result<std::unique_ptr<Attachment>> try_attach(const std::string& mount, std::uint64_t id);
};

}  // namespace flowfs::lib
