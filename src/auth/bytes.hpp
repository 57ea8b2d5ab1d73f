// SPDX-License-Identifier: BSD-3-Clause
// Bytes as this layer passes them around, and bytes that must not stay behind in memory.
//
// Owns: a Secret its bytes, which are zeroed before their memory is given back.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace flowfs::auth {

using Bytes = std::vector<std::byte>;
using View = std::span<const std::byte>;

// A key, or what keys are made of. Move-only, so that nobody copies one without meaning it.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::size_t size) : bytes_(size) {}
  Secret(Secret&& other) noexcept = default;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(); }

  [[nodiscard]] View bytes() const { return bytes_; }
  [[nodiscard]] std::span<std::byte> writable() { return bytes_; }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  void wipe();  // empty afterwards

 private:
  Bytes bytes_;
};

// As OpenSSL takes them.
inline const unsigned char* raw(View bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
// And as it writes them.
inline unsigned char* raw_out(std::span<std::byte> bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

void append(Bytes& to, View bytes);

}  // namespace flowfs::auth
