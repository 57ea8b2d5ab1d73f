// SPDX-License-Identifier: BSD-3-Clause
// The algorithms that a policy may name and a header may carry: their numbers on the wire
// (docs/oap.md), their names, and whether the OpenSSL that is linked has them.
//
// Threads: any, as there is no state.
// Invariants: a number is never given another meaning. What comes off the wire may be a number that
// nobody knows here: find() has no entry for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace flowfs::auth {

enum class KeyExchange : std::uint8_t {
  none = 0,
  x25519 = 1,
  x448 = 2,
  p256 = 3,
  p384 = 4,
  p521 = 5,
  ffdhe2048 = 6,
  ffdhe3072 = 7,
  ffdhe4096 = 8,
  ml_kem_768 = 9,
  x25519_ml_kem_768 = 10,
  // The same with the roles exchanged: the client encapsulates, to a key of the server's that it
  // has from before (kem_key.hpp).
  ml_kem_768_client = 11,
  x25519_ml_kem_768_client = 12,
};

// All of them authenticate what they encrypt, with a tag of 16 bytes and a nonce of 12.
enum class Cipher : std::uint8_t {
  none = 0,
  aes_128_gcm = 1,
  aes_256_gcm = 2,
  chacha20_poly1305 = 3,
};

enum class Kdf : std::uint8_t { none = 0, hkdf = 1 };

// For the KDF, and for the hashes of transcripts.
enum class Digest : std::uint8_t {
  none = 0,
  sha256 = 1,
  sha384 = 2,
  sha512 = 3,
  sha3_256 = 4,
  sha3_384 = 5,
  sha3_512 = 6,
  blake2s_256 = 7,
  blake2b_512 = 8,
};

struct KeyExchangeInfo {
  KeyExchange code;
  std::string_view name;     // as in enc.toml
  std::size_t offer_bytes;   // of the share that a request carries
  std::size_t answer_bytes;  // of what a response carries for it
  bool post_quantum;
  bool server_key;  // wants the server to have a key that lasts, and the client to know it
};

struct CipherInfo {
  Cipher code;
  std::string_view name;
  std::size_t key_bytes;
};

struct KdfInfo {
  Kdf code;
  std::string_view name;
};

struct DigestInfo {
  Digest code;
  std::string_view name;
  std::size_t bytes;
};

std::span<const KeyExchangeInfo> all(KeyExchange);
std::span<const CipherInfo> all(Cipher);
std::span<const KdfInfo> all(Kdf);
std::span<const DigestInfo> all(Digest);

// The entry of a number; null for one that is not known here, and for none.
template <typename Code>
const auto* find(Code code) {
  for (const auto& info : all(code)) {
    if (info.code == code) {
      return &info;
    }
  }
  return static_cast<decltype(all(code).data())>(nullptr);
}

// The entry of a name; null for one that is not known.
template <typename Code>
const auto* find_name(std::string_view name) {
  for (const auto& info : all(Code{})) {
    if (info.name == name) {
      return &info;
    }
  }
  return static_cast<decltype(all(Code{}).data())>(nullptr);
}

template <typename Code>
std::string_view to_string(Code code)
  requires requires { all(code); }
{
  const auto* const info = find(code);
  return info == nullptr ? "none" : info->name;
}

// Whether the OpenSSL of this process can do it. ML-KEM came with 3.5.
bool available(KeyExchange code);

// What OpenSSL calls them; null for what is not known.
const char* openssl_name(Cipher code);
const char* openssl_name(Digest code);

}  // namespace flowfs::auth
