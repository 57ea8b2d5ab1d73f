// SPDX-License-Identifier: BSD-3-Clause
// Frames for the tests of Ethernet buses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include "bus/ethernet.hpp"

namespace flowfs::bus::test {

using Frame = std::vector<std::byte>;

inline constexpr MacAddress kBroadcast{0xffffffffffff};

// The address of station `number`.
inline MacAddress station(unsigned number) { return MacAddress(0x020000000000U + number); }

inline void append(Frame& frame, std::uint64_t value, unsigned bytes) {
  while (bytes-- > 0) {
    frame.push_back(static_cast<std::byte>(value >> (8 * bytes)));
  }
}

// A frame with these tags (TCI each, the outermost first) and `payload` bytes that count up.
inline Frame frame(MacAddress to, MacAddress from, std::initializer_list<std::uint16_t> tags = {},
                   std::size_t payload = 46) {
  Frame result;
  append(result, static_cast<std::uint64_t>(to), 6);
  append(result, static_cast<std::uint64_t>(from), 6);
  for (const std::uint16_t tci : tags) {
    append(result, kTagType, 2);
    append(result, tci, 2);
  }
  append(result, 0x88b5, 2);  // a type for local experiments
  for (std::size_t i = 0; i < payload; ++i) {
    result.push_back(static_cast<std::byte>(i));
  }
  return result;
}

// TCP over IPv4 with `payload` bytes, no checksums, and a header that begins 34 bytes on.
inline Frame tcp4_frame(MacAddress to, MacAddress from, std::size_t payload) {
  Frame result;
  append(result, static_cast<std::uint64_t>(to), 6);
  append(result, static_cast<std::uint64_t>(from), 6);
  append(result, 0x0800'4500, 4);
  append(result, 40 + payload, 2);
  append(result, 0x4000, 4);
  append(result, 0x4006'0000, 4);
  append(result, 0x0a000001'0a000002, 8);
  append(result, 0, 8);
  append(result, 0, 4);
  append(result, 0x5010'ffff, 4);
  append(result, 0, 4);
  result.resize(result.size() + payload);
  return result;
}

inline Frame after(std::span<const std::byte> frame, Edit edit) {
  const EditedFrame parts = edited(frame, edit);
  Frame result(parts.size());
  parts.copy_to(result);
  return result;
}

}  // namespace flowfs::bus::test
