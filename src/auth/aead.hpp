// SPDX-License-Identifier: BSD-3-Clause
// A cipher that authenticates, with its key: seals and opens messages under nonces that the caller
// never uses twice.
//
// Threads: one at a time.
// Owns: the key, inside OpenSSL, which zeroes it.
// Errors: open() says false for a message that is not what was sealed; nothing of it is left in the
// output then.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "auth/algorithms.hpp"
#include "auth/bytes.hpp"
#include "base/result.hpp"

struct evp_cipher_ctx_st;  // OpenSSL's EVP_CIPHER_CTX

namespace flowfs::auth {

class Aead {
 public:
  static constexpr std::size_t kNonceBytes = 12;
  static constexpr std::size_t kTagBytes = 16;
  using Nonce = std::array<std::byte, kNonceBytes>;
  enum class Use { seal, open };

  // EINVAL: no such cipher, or a key of another length than its own.
  static Result<Aead> create(Cipher cipher, View key, Use use);

  // Encrypts `plain` into `out`, which is as long and the same place or another; authenticates it
  // together with `header`, which is not encrypted.
  bool seal(const Nonce& nonce, View header, View plain, std::span<std::byte> out,
            std::span<std::byte, kTagBytes> tag);
  // The reverse.
  bool open(const Nonce& nonce, View header, View sealed, std::span<const std::byte, kTagBytes> tag,
            std::span<std::byte> out);

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  using Context = std::unique_ptr<evp_cipher_ctx_st, Free>;
  explicit Aead(Context context) : context_(std::move(context)) {}

  Context context_;
};

}  // namespace flowfs::auth
