// SPDX-License-Identifier: BSD-3-Clause
// Ethernet frames as a switch sees them: two addresses, at most one tag, and the rest.
//
// Source: IEEE 802.3 (addresses), IEEE 802.1Q (tag 0x8100: priority, drop eligible, VLAN). Only
// the outermost tag is read: what follows it, another tag as well, is payload and passes as it is.
// So does the service tag 0x88a8 of QinQ, which a switch of customers' VLANs does not look into.
// Threads: any; there is no state.
// Errors: anything may come off a wire: a frame that ends inside its header is no frame.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "bus/policy.hpp"

namespace flowfs::bus {

inline constexpr std::size_t kAddressesBytes = 12;  // destination, source
inline constexpr std::size_t kTagBytes = 4;
inline constexpr std::size_t kHeaderBytes = 14;  // the addresses and the type
inline constexpr std::uint16_t kTagType = 0x8100;

// The 48 bits of an address, the first on the wire uppermost.
enum class MacAddress : std::uint64_t {};

// A group address: broadcast, or multicast.
constexpr bool is_group(MacAddress address) {
  return (static_cast<std::uint64_t>(address) >> 40 & 1) != 0;
}

// "52:54:00:12:34:56"
std::string to_string(MacAddress address);

enum class VlanId : std::uint16_t {};  // 1 to 4094; 0: of no VLAN

inline constexpr VlanId kNoVlan{0};
inline constexpr std::uint16_t kVlanBits = 0x0fff;  // of a TCI; above them priority and eligibility

constexpr VlanId vlan_of(std::uint16_t tci) { return VlanId(tci & kVlanBits); }

struct FrameHeader {
  MacAddress destination{};
  MacAddress source{};
  std::optional<std::uint16_t> tci;  // of the outermost tag
};

// Nothing for a frame that is shorter than its header.
std::optional<FrameHeader> parse_frame(std::span<const std::byte> frame);

// A frame after an edit, without a copy of what did not change: the parts, in order. It points into
// the frame that it was made of.
struct EditedFrame {
  std::span<const std::byte> head;  // the addresses, or all of it
  std::array<std::byte, kTagBytes> tag{};
  std::size_t tag_bytes = 0;
  std::span<const std::byte> rest;

  [[nodiscard]] std::size_t size() const { return head.size() + tag_bytes + rest.size(); }
  // Into the first size() bytes of `out`, which has room for them.
  void copy_to(std::span<std::byte> out) const;
};

// `frame` as `edit` says. An edit that does not fit the frame (removing a tag that is not there),
// which no policy decides, leaves it as it is.
EditedFrame edited(std::span<const std::byte> frame, Edit edit);

}  // namespace flowfs::bus
