// SPDX-License-Identifier: BSD-3-Clause
// Takes bytes that came from elsewhere apart, big-endian, without ever reading behind their end.
//
// Errors: once there are too few bytes, or a length is beyond its bound, good() stays false and
// everything read is empty or 0: a parser may look once at the end, and must look before it acts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "auth/bytes.hpp"

namespace flowfs::auth {

class ByteReader {
 public:
  explicit ByteReader(View bytes) : rest_(bytes) {}

  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] std::size_t left() const { return rest_.size(); }

  View bytes(std::size_t count) {
    if (!good_ || count > rest_.size()) {
      good_ = false;
      return {};
    }
    const View taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  // Of up to 8 bytes.
  std::uint64_t number(std::size_t count) {
    std::uint64_t value = 0;
    for (const std::byte one : bytes(count)) {
      value = value << 8 | static_cast<std::uint8_t>(one);
    }
    return value;
  }
  // At most `most` bytes behind their length.
  View counted(std::size_t length_bytes, std::size_t most) {
    const std::uint64_t count = number(length_bytes);
    if (count > most) {
      good_ = false;
    }
    return bytes(count);
  }

 private:
  View rest_;
  bool good_ = true;
};

}  // namespace flowfs::auth
