// SPDX-License-Identifier: BSD-3-Clause
// DIR.vde beside the mount: a folder for each Ethernet bus, where VDE clients plug in.
//
// A bus's folder is named by its number, so that the bus can be renamed.
// Threads: the loop's.
// Invariants: 1. Between open() and close() an Ethernet bus has a switch, unless the last attempt
// to make it failed, and no other bus has one. 2. LiveBus::vde is the folder of its bus, or empty.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fs/vde_switch.hpp"

namespace flowfs::fs {

class VdeSwitches {
 public:
  VdeSwitches(Loop& loop, Buses& buses, FileTable& files, RequestCounters& counters,
              std::function<registry::Rights(registry::BusId, const Caller&)> rights);

  // Takes the folder, and clears it of what a dead daemon left. Errors: those of VdeFolder.
  Status open(const std::string& path);
  // All clients leave, and nothing is left in the file system.
  void close();
  // A bus may have become an Ethernet, or have ceased to be one, or to exist.
  void update(registry::BusId id);

  // Connections of clients.
  [[nodiscard]] std::size_t connections() const;

 private:
  std::vector<std::byte> buffer_;
  VdeSurroundings around_;
  std::unique_ptr<VdeFolder> folder_;
  std::map<registry::BusId, std::unique_ptr<VdeSwitch>> switches_;
};

}  // namespace flowfs::fs
