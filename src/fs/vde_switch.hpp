// SPDX-License-Identifier: BSD-3-Clause
// Where VDE clients plug into one Ethernet bus: a folder with a socket `ctl`, at which they ask,
// and with a data socket of each.
//
// A client is asked for nothing but what the protocol has (bus/vde_request.hpp). Who it is the
// kernel tells; what it may do on the bus the tree does, once, as at an open of `bus`. As long as
// its connection lasts, it is a member.
//
// Threads: the loop's. Never touches the mount.
// Errors: a client that is refused is hung up on, and counted with the reason (Op::vde).
// Owns: the folder, the connections, and the ports.
// Invariants: 1. A connection is charged to its uid as a descriptor, its data socket as another.
// 2. Without a port it lasts for kPatience at most.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "fs/access.hpp"
#include "fs/file_table.hpp"
#include "fs/listener.hpp"
#include "fs/vde_folder.hpp"
#include "fs/vde_port.hpp"

namespace flowfs::fs {

// What all switches work with.
struct VdeSurroundings {
  Loop& loop;
  Buses& buses;
  FileTable& files;
  RequestCounters& counters;
  // What somebody may do on a bus.
  std::function<registry::Rights(registry::BusId, const Caller&)> rights;
  std::span<std::byte> buffer;  // for one frame
};

class VdeSwitch {
 public:
  static constexpr Micros kPatience{5'000'000};

  // At `path`, for a bus that stays while this lives; its payer is charged a descriptor. Errors:
  // EDQUOT, ENFILE; those of VdeFolder and listen(2).
  static Result<std::unique_ptr<VdeSwitch>> make(VdeSurroundings& around, LiveBus& live,
                                                 const std::string& path);
  VdeSwitch(const VdeSwitch&) = delete;
  VdeSwitch& operator=(const VdeSwitch&) = delete;

  [[nodiscard]] const std::string& path() const { return folder_->path(); }
  [[nodiscard]] std::size_t connections() const { return connections_.size(); }

 private:
  struct Connection {
    Fd socket;
    registry::Opener who;
    registry::Rights rights;
    registry::Charge descriptor;
    registry::Charge data_descriptor;
    std::vector<std::byte> request;  // what has come of it
    std::unique_ptr<VdePort> port;   // once it has come
    Loop::Watch watch;
    Loop::Timer end;
  };
  using Place = std::list<Connection>::iterator;

  VdeSwitch(VdeSurroundings& around, LiveBus& live, registry::Charge descriptor,
            std::unique_ptr<VdeFolder> folder, Fd socket);
  void admit(Fd socket, const ucred& peer);
  void serve(Place connection);
  Status plug(Place connection);
  void refuse(int error) { around_.counters.refused(Op::vde, error); }

  VdeSurroundings& around_;
  LiveBus& live_;
  registry::Charge descriptor_;
  std::unique_ptr<VdeFolder> folder_;
  std::list<Connection> connections_;
  Listener listener_;
};

}  // namespace flowfs::fs
