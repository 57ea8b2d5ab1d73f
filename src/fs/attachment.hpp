// SPDX-License-Identifier: BSD-3-Clause
// A network interface as a member of an Ethernet bus: a TAP that is made for it, or an interface
// that is there.
//
// Threads: the loop's.
// Owns: the descriptor of the interface, and its place among the bus's members, from attach() until
// it is destroyed. An interface that has gone is looked for once a second and taken up again.
// Invariants: 1. At most one frame waits here, and only while a lossless bus has no room for it;
// nothing is read meanwhile. 2. What the interface does not take is lost and counted, as on a wire.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/interface.hpp"
#include "base/loop.hpp"
#include "base/worker.hpp"
#include "fs/buses.hpp"

namespace flowfs::fs {

class Attachment final : private bus::Member {
 public:
  enum class Kind : std::uint8_t { tap, interface };
  // Up and down are told by what it takes: a TAP that nobody has tried to reach counts as up.
  enum class State : std::uint8_t { up, down, away };

  struct Counts {
    std::uint64_t frames_in = 0;  // from the interface, to the bus
    std::uint64_t bytes_in = 0;
    std::uint64_t frames_out = 0;
    std::uint64_t bytes_out = 0;
    std::uint64_t lost_in = 0;  // the bus did not take them, or the daemon came too late
    std::uint64_t lost_out = 0;
  };

  // `closers` close descriptors: taking an interface away takes the kernel tens of milliseconds.
  // `buffer` holds any frame with its header, and is shared by all attachments.
  Attachment(Loop& loop, Buses& buses, Workers& closers, std::span<std::byte> buffer, Kind kind,
             std::string name);
  ~Attachment() override;

  // Before anything else. Errors: those of base/interface.hpp and of Buses::join.
  Status attach(LiveBus& live, registry::Opener who);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] const Counts& counts();
  [[nodiscard]] bus::PortId port() const { return port_; }
  [[nodiscard]] const registry::Opener& who() const { return who_; }

 private:
  void on_message() override;
  void on_room() override;
  void on_cut_off() override;

  Status open();
  Status join();
  void close();
  void listen();
  void on_readable();
  bool take_frame(std::size_t bytes);
  void on_receive_failed(int error);
  void put_frame(std::span<const std::byte> message);
  void set_state(State state);
  void retry();

  Loop& loop_;
  Buses& buses_;
  Workers& closers_;
  std::span<std::byte> buffer_;
  Kind kind_;
  std::string name_;
  LiveBus* live_ = nullptr;
  registry::Opener who_;
  bus::PortId port_{};
  bool member_ = false;  // not while it was cut off and has not joined again
  State state_ = State::up;
  Counts counts_;
  std::vector<std::byte> waiting_;  // for room
  Fd fd_;
  Loop::Watch watch_;
  Loop::Timer retry_;
};

const char* to_string(Attachment::State state);
// `tap` and `grab`: the folders that they are in.
const char* to_string(Attachment::Kind kind);

}  // namespace flowfs::fs
