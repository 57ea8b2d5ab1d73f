// SPDX-License-Identifier: BSD-3-Clause
// A VDE client as a member of an Ethernet bus: a datagram socket, each message a frame.
//
// Threads: the loop's.
// Owns: the data socket and its file, and the place among the bus's members.
// Invariants: 1. A frame leaves the bus's log only when the client's socket has taken it: a client
// that is slow lags and loses like any other member, and is counted like it. 2. At most one frame
// of the client waits here, and only while a lossless bus has no room for it; nothing is read
// meanwhile. 3. Once over() was told, there is nothing more but the end.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/loop.hpp"
#include "fs/buses.hpp"
#include "fs/request.hpp"
#include "fs/vde_folder.hpp"

namespace flowfs::fs {

class VdePort final : private bus::Member {
 public:
  // `socket` is connected to the client's. `buffer` holds any frame, and is shared by all ports.
  // `over` is told once when the port can do no more; the port is not destroyed from inside it.
  VdePort(Loop& loop, Buses& buses, RequestCounters& counters, std::span<std::byte> buffer,
          Fd socket, std::function<void()> over);
  ~VdePort() override;

  // Before anything else. `name` may be empty. Errors: those of Buses::join and VdeFolder::bind.
  Status join(LiveBus& live, registry::Opener who, registry::Rights rights, std::string name,
              const VdeFolder& folder);
  // The path of our data socket.
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  void on_message() override;
  void on_room() override;
  void on_cut_off() override;

  void listen();
  void on_readable();
  void on_writable();
  bool take_frame(std::span<const std::byte> frame);
  void give_frames();
  void end();

  Loop& loop_;
  Buses& buses_;
  RequestCounters& counters_;
  std::span<std::byte> buffer_;
  Fd socket_;
  std::function<void()> over_;
  std::string path_;
  LiveBus* live_ = nullptr;  // null: no member (any more)
  bus::PortId port_{};
  bool may_send_ = false;
  std::vector<std::byte> waiting_;  // for room
  Loop::Watch readable_;
  Loop::Watch writable_;  // while the client's socket has no room
};

}  // namespace flowfs::fs
