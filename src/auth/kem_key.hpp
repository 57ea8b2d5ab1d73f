// SPDX-License-Identifier: BSD-3-Clause
// A server's key for ML-KEM-768 that lasts: the client, which has its public half from before,
// encapsulates to it, so that the server makes no key for the flow and sends no ciphertext.
//
// What is recorded can be read by whoever steals such a key later, unless X25519, which is never
// without a fresh key, is there as well.
//
// Threads: any. Nothing here changes once it is made.
// Errors: the context says in words what is wrong with the text. EBADMSG: no PEM of this kind, or
// cut short; EFBIG: longer than kLongestPem; ENOKEY: nothing in it; EKEYREJECTED: encrypted, of
// another kind, or this OpenSSL has no ML-KEM.
// Owns: the key, inside OpenSSL, which zeroes it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "auth/bytes.hpp"
#include "base/result.hpp"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace flowfs::auth {

class KemKey {
 public:
  static constexpr std::size_t kIdBytes = 32;

  // The server's own, PKCS#8. Never asks for a password.
  static Result<KemKey> parse_private(std::string_view pem);
  // What its clients have of it.
  static Result<KemKey> parse_public(std::string_view pem);

  // SHA-256 of the public half: a server knows by it whether it is the one that was meant.
  [[nodiscard]] View id() const { return id_; }
  [[nodiscard]] evp_pkey_st* get() const { return key_.get(); }

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  explicit KemKey(evp_pkey_st* key) : key_(key) {}
  static Result<KemKey> check(KemKey key, bool encrypted, bool there);

  std::unique_ptr<evp_pkey_st, Free> key_;
  Bytes id_;
};

// Both halves as PEM. EOPNOTSUPP: this OpenSSL has no ML-KEM.
struct KemPair {
  Secret private_half;
  std::string public_half;
};
Result<KemPair> make_kem_pair();

}  // namespace flowfs::auth
