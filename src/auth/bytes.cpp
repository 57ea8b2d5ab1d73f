// SPDX-License-Identifier: BSD-3-Clause
#include "auth/bytes.hpp"

#include <openssl/crypto.h>

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

void append(Bytes& to, View bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

}  // namespace flowfs::auth
