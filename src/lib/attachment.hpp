// SPDX-License-Identifier: BSD-3-Clause
// What an end in mapped mode holds: its tx, its peer's segment, its status slot.
//
// Threads: attach() and map_peer() any; the status words any.
// Errors: every failure of attach() means that the end stays in file mode.
// Owns: the tx descriptor, whose closing puts the end back into file mode, and the mappings.
// Peer death: shows in the status slot, which the daemon alone writes.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "flowfs/wire.h"
#include "lib/pool_member.hpp"
#include "lib/sealed_flow.hpp"
#include "lib/status_map.hpp"
#include "pool/segment.hpp"

namespace flowfs::lib {

// One of the peer's segments, as rx showed it. Each direction keeps the one it works with.
struct PeerSegment {
  Mapping mapping;  // that holds the bytes, where nobody else does
  std::span<const std::byte> bytes;
  pool::Generation generation{};

  [[nodiscard]] const flowfs_segment& header() const;
};

// This process's place in a pool, for one end.
struct PoolSeat {
  std::shared_ptr<PoolMember> member;
  pool::LaneNumber lane{};
};

class Attachment {
 public:
  // `message` is the end's message descriptor; it is polled for where the daemon says "not yet".
  static Result<std::unique_ptr<Attachment>> attach(const std::string& mount, std::uint64_t id,
                                                    int message);
  // Joins the pool of this process, so that blocks may be handed over once the peer has joined the
  // same one. Without a pool messages go through the lane, as those of an encrypted flow always do.
  void join_pool(const std::string& mount);

  // Nothing is mapped; for who fills in the members itself.
  Attachment() = default;

  // Members go in reverse: unmapped before tx is closed.
  Fd tx_fd;
  std::string mount_path;
  std::string folder;
  flowfs_attach answer{};
  pool::Geometry geometry;
  Mapping tx;
  std::shared_ptr<const flowfs_status> slot;
  // The one of answer.peer_generation, where both directions begin.
  std::shared_ptr<const PeerSegment> first_peer;
  std::optional<PoolSeat> seat;
  std::unique_ptr<SealedFlow> sealed;  // null: the flow is not encrypted

  [[nodiscard]] flowfs_segment& own() const;
  [[nodiscard]] const flowfs_status& status() const;
  [[nodiscard]] pool::Generation peer_generation() const;
  // The longest message.
  [[nodiscard]] std::size_t mtu_bytes() const { return geometry.mtu_bytes - answer.overhead_bytes; }
  // Whether the peer takes blocks of this end's pool now.
  [[nodiscard]] bool shares_pool() const;

  // The segment that rx opens now.
  [[nodiscard]] Result<std::shared_ptr<const PeerSegment>> map_peer() const;

 private:
  static Result<std::unique_ptr<Attachment>> try_attach(const std::string& mount, std::uint64_t id);
};

}  // namespace flowfs::lib
