// SPDX-License-Identifier: BSD-3-Clause
// The policies of Ethernet buses: `switch`, which learns where stations are, and `hub`.
//
// Both validate frames, keep VLANs apart, add and remove tags, and shut the newer of two ports that
// close a loop. A switch sends a frame for a station it knows to that station's port only; anything
// else, and everything in a hub, goes to all ports of the VLAN.
// Threads: one object, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "bus/ethernet.hpp"
#include "bus/loop_guard.hpp"
#include "bus/mac_table.hpp"
#include "bus/policy.hpp"
#include "bus/vlan.hpp"

namespace flowfs::bus {

class EthernetPolicy : public Policy {
 public:
  // `most_bytes`: the longest frame taken. One that gets a tag on its way leaves four bytes longer.
  explicit EthernetPolicy(std::size_t most_bytes) : most_bytes_(most_bytes) {}

  void join(PortNumber port) override;
  void leave(PortNumber port) override;
  void decide(PortNumber from, std::span<const std::byte> frame, Instant now,
              Decision& out) override;

  // The VLANs of a port that has joined: any, until they are set. False for one that has not.
  bool set_vlans(PortNumber port, const PortVlans& vlans);
  [[nodiscard]] const PortVlans* vlans(PortNumber port) const;  // null for one that has not
  [[nodiscard]] bool is_shut(PortNumber port) const;

 protected:
  // The port of the station that `header` is for, as far as it is known.
  virtual std::optional<PortNumber> way_to(const FrameHeader& header, VlanId vlan, PortNumber from,
                                           Instant now) = 0;
  // What was known about a port is not true any more.
  virtual void forget(PortNumber port) = 0;

 private:
  struct Port {
    PortNumber number{};
    bool shut = false;
    PortVlans vlans;
  };

  Port* find(PortNumber port);
  [[nodiscard]] const Port* find(PortNumber port) const;
  [[nodiscard]] Drop refused(const Port* from, const std::optional<FrameHeader>& header,
                             std::size_t bytes) const;
  void close_loop(PortNumber one, PortNumber other, Decision& out);
  void flood(const FrameHeader& header, VlanId vlan, PortNumber from, Decision& out) const;

  std::size_t most_bytes_;
  std::vector<Port> ports_;  // the newest last
  std::unordered_map<PortNumber, std::size_t> places_;
  LoopGuard loops_;
};

class SwitchPolicy final : public EthernetPolicy {
 public:
  explicit SwitchPolicy(std::size_t most_bytes, MacTable::Limits limits = {})
      : EthernetPolicy(most_bytes), stations_(limits) {}

  [[nodiscard]] MacTable& stations() { return stations_; }
  [[nodiscard]] const MacTable& stations() const { return stations_; }

 private:
  std::optional<PortNumber> way_to(const FrameHeader& header, VlanId vlan, PortNumber from,
                                   Instant now) override;
  void forget(PortNumber port) override { stations_.forget(port); }

  MacTable stations_;
};

class HubPolicy final : public EthernetPolicy {
 public:
  using EthernetPolicy::EthernetPolicy;

 private:
  std::optional<PortNumber> way_to(const FrameHeader& header, VlanId vlan, PortNumber from,
                                   Instant now) override;
  void forget(PortNumber port) override;
};

}  // namespace flowfs::bus
