// SPDX-License-Identifier: BSD-3-Clause
// What a VDE client and a VDE switch say to each other before the first frame.
//
// Source: the protocol of vde_switch (Virtual Square), version 3, as its clients speak it.
// Shape: bytes in, bytes out. A client sends 12 bytes (magic, version, type: 32 bits each, of the
// machine's own order), the address of its data socket as a struct sockaddr_un, and a description
// of itself that is not terminated. It gets the address of the switch's data socket back.
// Errors: EINVAL no request; EPROTONOSUPPORT one of another version; EOPNOTSUPP one for more than
// any port (a port by its number, or without restrictions).
#pragma once

#include <sys/un.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace flowfs::bus {

inline constexpr std::uint32_t kVdeMagic = 0xfeedface;
inline constexpr std::uint32_t kVdeVersion = 3;
inline constexpr std::size_t kVdeLeastRequest = 12 + sizeof(sockaddr_un);
inline constexpr std::size_t kVdeLongestDescription = 128;
inline constexpr std::size_t kVdeMostRequest = kVdeLeastRequest + kVdeLongestDescription;

struct VdeRequest {
  std::string socket;       // where the client wants its frames: an absolute path
  std::string description;  // without what no text has
};

Result<VdeRequest> parse_vde_request(std::span<const std::byte> bytes);

// `path` of our data socket. ENAMETOOLONG.
Result<std::array<std::byte, sizeof(sockaddr_un)>> format_vde_answer(std::string_view path);

}  // namespace flowfs::bus
