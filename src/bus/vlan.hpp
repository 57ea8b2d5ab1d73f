// SPDX-License-Identifier: BSD-3-Clause
// The VLANs of a port, and what they do to its frames.
//
// Source: IEEE 802.1Q. In the words of its attribute file:
//   any              takes and gives every frame: tagged ones with their tag, untagged ones are of
//                    no VLAN and go only to such ports (the default: a switch without VLANs)
//   access 10        takes untagged frames, which are of VLAN 10 behind it, and gives those of VLAN
//                    10 without their tag; tagged ones are refused
//   trunk 10,20-29   takes and gives tagged frames of these VLANs
// A tag of VLAN 0 says only a priority: to an access port the frame counts as untagged.
// Threads: any; values.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "bus/ethernet.hpp"
#include "bus/policy.hpp"

namespace flowfs::bus {

class PortVlans {
 public:
  enum class Kind : std::uint8_t { any, access, trunk };

  PortVlans() = default;
  // The text of an attribute file, without white space around it. Errors: EINVAL, and ERANGE for a
  // VLAN that is not 1 to 4094.
  static Result<PortVlans> parse(std::string_view text);
  // As parse() takes it, the VLANs in order.
  [[nodiscard]] std::string text() const;

  [[nodiscard]] Kind kind() const { return kind_; }

  // The VLAN of a frame that comes in here, by its tag; nothing where the port does not take it.
  [[nodiscard]] std::optional<VlanId> takes(std::optional<std::uint16_t> tci) const;

  // How a frame of `vlan`, which came with the tag `tci`, leaves here; nothing where it does not.
  [[nodiscard]] std::optional<Edit> gives(VlanId vlan, std::optional<std::uint16_t> tci) const;

  bool operator==(const PortVlans&) const = default;

 private:
  static Result<PortVlans> parse_access(std::string_view text);
  static Result<PortVlans> parse_trunk(std::string_view text);

  Kind kind_ = Kind::any;
  VlanId access_ = kNoVlan;
  std::bitset<kVlanBits + 1> trunk_;
};

}  // namespace flowfs::bus
