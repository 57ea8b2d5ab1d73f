// SPDX-License-Identifier: BSD-3-Clause
#include "auth/bytes.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <span>
#include <utility>

namespace flowfs::auth {

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe();
    bytes_ = std::move(other.bytes_);
    other.bytes_.clear();
  }
  return *this;
}

void Secret::wipe() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
  bytes_.clear();
}

// Not insert(): GCC 12 believes, with link-time optimisation, that it writes behind an empty
// vector.
void append(Bytes& to, View bytes) {
  const std::size_t before = to.size();
  to.resize(before + bytes.size());
  std::ranges::copy(bytes, std::span(to).subspan(before).begin());
}

}  // namespace flowfs::auth
