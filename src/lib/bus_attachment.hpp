// SPDX-License-Identifier: BSD-3-Clause
// What a mapped member of a bus holds: its tx, the bus's log, its status slot.
//
// Threads: attach() and map_log() any; the status words any.
// Errors: every failure of attach() means that the member stays in file mode.
// Owns: the tx descriptor, whose closing puts the member back into file mode, and the mappings.
// Peer death: a writer that is gone shows in the status slot, which the daemon alone writes.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "flowfs/wire.h"
#include "lib/status_map.hpp"
#include "pool/segment.hpp"

namespace flowfs::lib {

// One of the bus's logs, as `log` showed it.
struct MappedLog {
  Mapping mapping;
  pool::Generation generation{};

  [[nodiscard]] std::span<const std::byte> bytes() const { return mapping.bytes(); }
  [[nodiscard]] const flowfs_log& header() const {
    return *reinterpret_cast<const flowfs_log*>(mapping.data());
  }
};

class BusAttachment {
 public:
  // What the status slot says of the log that is read.
  struct LogEnd {
    bool retired = false;  // another follows it
    bool gone = false;     // and what is left of it too
    std::uint64_t position = FLOWFS_LANE_OPEN;
    bool operator==(const LogEnd&) const = default;
  };

  // `folder`: an O_PATH descriptor of buses/BUS, which follows the bus where it is renamed. It
  // outlives the attachment.
  static Result<std::unique_ptr<BusAttachment>> attach(const std::string& mount, const Fd& folder,
                                                       std::uint64_t port);

  // Nothing is mapped; for who fills in the members itself.
  BusAttachment() = default;

  // Members go in reverse: unmapped before tx is closed.
  const Fd* folder = nullptr;
  Fd tx_fd;
  std::string mount_path;
  flowfs_bus_attach answer{};
  // Of the member's own segment; none where tx is the log.
  std::optional<pool::Geometry> geometry;
  Mapping tx;
  std::shared_ptr<const flowfs_status> slot;
  // The one of answer.log_generation, or one that has followed it since; none where the member does
  // not receive.
  std::shared_ptr<const MappedLog> first_log;

  [[nodiscard]] bool has(std::uint32_t flag) const { return (answer.flags & flag) != 0; }
  // Its words, where there is a geometry.
  [[nodiscard]] flowfs_segment& own() const;
  [[nodiscard]] const flowfs_status& status() const;
  // ECONNABORTED: it is no member any more; EPROTO: for breaking the rules.
  [[nodiscard]] Status is_member() const;
  // The same; EPIPE: it has been shut down for sending.
  [[nodiscard]] Status may_send() const;
  // Whether what it has sent will be taken, or has been.
  [[nodiscard]] bool is_served() const;
  // It has been shut down for receiving, and what the log held for it may be gone.
  [[nodiscard]] bool is_deaf() const;
  [[nodiscard]] LogEnd end_of(pool::Generation generation) const;

  // The log that the bus has now.
  [[nodiscard]] Result<std::shared_ptr<const MappedLog>> map_log() const;

 private:
  // How segments and status slots know the member.
  [[nodiscard]] std::uint64_t slot_name() const { return answer.member | FLOWFS_STATUS_MEMBER; }
  Status try_attach(std::uint64_t port);
  Status map_own();
  Status map_status();
  [[nodiscard]] Result<Mapping> open_log() const;
};

}  // namespace flowfs::lib
