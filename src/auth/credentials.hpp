// SPDX-License-Identifier: BSD-3-Clause
// Who one end of a flow is: a certificate with those that lead to its authority, and the private
// key that proves it.
//
// Keys are RSA (2048 to 8192 bits), ECDSA on P-256, P-384 or P-521, Ed25519, Ed448. How a key signs
// follows from what it is, so nothing about it is negotiated: RSA with PSS and SHA-256 (a salt as
// long as the hash), the curves with the SHA-2 as long as they are, the Edwards curves as they are.
//
// Threads: any. Nothing here changes once it is made.
// Errors: the context says in words what is wrong with the text. EBADMSG: no PEM of this kind, or
// cut short; EFBIG: longer than kLongestPem, or more certificates than kLongestChain; ENOKEY:
// nothing in it; EKEYREJECTED: well-formed and not to be used (an encrypted key, one of another
// certificate, a kind or a length that is not accepted).
// Owns: a key, inside OpenSSL, which zeroes it.
#pragma once

#include <cstddef>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "auth/bytes.hpp"
#include "base/result.hpp"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY
struct x509_st;      // OpenSSL's X509

namespace flowfs::auth {

inline constexpr std::size_t kLongestPem = 64 * 1024;
inline constexpr std::size_t kLongestChain = 8;

class Certificate {
 public:
  // Exactly one certificate and nothing behind it.
  static Result<Certificate> from_der(View der);
  // Takes over a reference.
  explicit Certificate(x509_st* certificate) : certificate_(certificate) {}
  [[nodiscard]] Certificate share() const;  // another reference to the same

  [[nodiscard]] Bytes der() const;
  // As RFC 2253 writes it, without control characters: for people.
  [[nodiscard]] std::string subject() const;
  [[nodiscard]] std::time_t valid_until() const;
  // What it may be called: "DNS:host" and "URI:flowfs:name", as they stand in the certificate.
  [[nodiscard]] std::vector<std::string> alternative_names() const;
  // A kind and a length of key that are accepted.
  [[nodiscard]] bool has_accepted_key() const;
  // Whether the owner of this certificate's key made `signature` over `message`.
  [[nodiscard]] bool verify_signature(View message, View signature) const;

  [[nodiscard]] x509_st* get() const { return certificate_.get(); }

 private:
  struct Free {
    void operator()(x509_st* certificate) const;
  };
  std::unique_ptr<x509_st, Free> certificate_;
};

// All certificates in the text, in its order. What else is in it is passed over.
Result<std::vector<Certificate>> parse_certificates(std::string_view pem,
                                                    std::size_t most = kLongestChain);

class PrivateKey {
 public:
  // The first private key in the text, PKCS#8 or of the older forms. Never asks for a password.
  static Result<PrivateKey> parse(std::string_view pem);

  [[nodiscard]] Result<Bytes> sign(View message) const;
  [[nodiscard]] bool belongs_to(const Certificate& certificate) const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  explicit PrivateKey(evp_pkey_st* key) : key_(key) {}

  std::unique_ptr<evp_pkey_st, Free> key_;
};

class Credential {
 public:
  // `certificates` begins with that of `key`; those behind it lead to an authority.
  static Result<Credential> parse(std::string_view certificates, std::string_view key);
  static Result<Credential> combine(std::vector<Certificate> chain, PrivateKey key);

  [[nodiscard]] const Certificate& leaf() const { return chain_.front(); }
  [[nodiscard]] const std::vector<Certificate>& chain() const { return chain_; }
  [[nodiscard]] Result<Bytes> sign(View message) const { return key_.sign(message); }

 private:
  Credential(std::vector<Certificate> chain, PrivateKey key)
      : chain_(std::move(chain)), key_(std::move(key)) {}

  std::vector<Certificate> chain_;  // never empty
  PrivateKey key_;
};

}  // namespace flowfs::auth
