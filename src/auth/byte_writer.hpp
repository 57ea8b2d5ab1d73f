// SPDX-License-Identifier: BSD-3-Clause
// Numbers as they go over the wire: big-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "auth/bytes.hpp"

namespace flowfs::auth {

// As many of its low bytes as there is room for.
inline void put_number(std::span<std::byte> to, std::uint64_t value) {
  for (std::size_t i = to.size(); i-- > 0; value >>= 8) {
    to[i] = static_cast<std::byte>(value);
  }
}

inline void append_number(Bytes& to, std::uint64_t value, std::size_t bytes) {
  to.resize(to.size() + bytes);
  put_number(std::span(to).last(bytes), value);
}

// Bytes behind their length.
inline void append_counted(Bytes& to, View bytes, std::size_t length_bytes) {
  append_number(to, bytes.size(), length_bytes);
  append(to, bytes);
}

}  // namespace flowfs::auth
