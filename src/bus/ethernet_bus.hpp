// SPDX-License-Identifier: BSD-3-Clause
// The Ethernet side of a bus: asks the policy about each frame, and gives every port the version of
// it that the policy decided on.
//
// Some ports are interfaces of this machine: every message to one of them, and from it, has the
// kernel's offload header before the frame. From interface to interface a frame stays as it is,
// even one that stands for many; for all others it is finished first.
// Threads: the bus's. Units: bytes.
// Invariants: 1. Every frame sent is counted once for its port, as taken or under why it was not,
// but for one that is refused as `full`, which comes again; one that stands for many counts as
// those, as it does for who gets it. 2. All ports that are to get a frame get it, or none.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "bus/bus.hpp"
#include "bus/ethernet_policy.hpp"
#include "bus/offload.hpp"

namespace flowfs::bus {

class EthernetBus {
 public:
  // The longest frame that a bus may be set to take.
  static constexpr std::size_t kMostFrame = 65536;
  // What the log beneath must take: TCP segments in one frame, with header and tag.
  static constexpr std::size_t kMostMessage = kMostFrame + 256;

  enum class Kind : std::uint8_t { learning_switch, hub };
  // What a port's messages are.
  enum class Frames : std::uint8_t { plain, with_offload };
  using Drops = std::array<std::uint64_t, kDrops>;  // by Drop; that of `none` counts what was taken

  EthernetBus(Kind kind, std::size_t most_bytes);

  void join(PortNumber port, Frames frames);
  void leave(PortNumber port);

  struct Sent {
    SendOutcome outcome =
        SendOutcome::ok;                   // too_long and full as Bus::send; ok for what is dropped
    std::optional<PortNumber> newly_shut;  // it closed a loop
  };
  // `message` came from the port `number`, which is `from` in `data`.
  Sent send(Bus& data, PortId from, PortNumber number, std::span<const std::byte> message,
            Instant now);

  // The frame in a message of that port.
  [[nodiscard]] std::span<const std::byte> frame_of(PortNumber port,
                                                    std::span<const std::byte> message) const;
  [[nodiscard]] Kind kind() const { return switch_ != nullptr ? Kind::learning_switch : Kind::hub; }
  [[nodiscard]] EthernetPolicy& policy() { return *policy_; }
  [[nodiscard]] const EthernetPolicy& policy() const { return *policy_; }
  // Null in a hub.
  [[nodiscard]] SwitchPolicy* learning() { return switch_; }
  [[nodiscard]] const SwitchPolicy* learning() const { return switch_; }
  void set_most_bytes(std::size_t bytes) { most_bytes_ = bytes; }
  [[nodiscard]] Drops drops(PortNumber port) const;
  [[nodiscard]] const Drops& drops() const { return drops_; }  // of all ports that ever were

 private:
  struct Port {
    Frames frames = Frames::plain;
    Drops drops{};
  };
  // The ports that get the same bytes.
  struct Group {
    Edit edit;
    Frames frames{};
    std::vector<PortNumber> ports;
  };

  // What a group gets: bytes that are there already, or a part of made_.
  struct Part {
    std::span<const std::byte> ready;
    std::size_t begin = 0;
    std::size_t size = 0;
    const Group* group = nullptr;
    Worth worth;
  };

  Drop check(const Port* from, std::span<const std::byte> message);
  void group(const Decision& decision);
  bool lay_out(bool from_interface, std::span<const std::byte> message);
  void add_whole(const Group& group, bool from_interface, std::span<const std::byte> message);
  bool add_finished(const Group& group);
  SendOutcome give(Bus& data, const Bus::Original& original, Instant now);

  std::unique_ptr<EthernetPolicy> policy_;
  SwitchPolicy* switch_ = nullptr;  // policy_, where it is one
  std::size_t most_bytes_;
  std::unordered_map<PortNumber, Port> ports_;
  Drops drops_{};

  // Of the frame being sent; members, so that they keep their memory.
  Decision decision_;
  std::vector<Group> groups_;
  std::size_t groups_used_ = 0;
  std::array<std::byte, kOffloadBytes> header_{};
  Offload offload_;
  std::span<const std::byte> frame_;
  std::vector<std::byte> finished_;
  std::vector<std::byte> made_;
  std::vector<Part> parts_;
  std::vector<Bus::Form> forms_;
};

}  // namespace flowfs::bus
