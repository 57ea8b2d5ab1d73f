// SPDX-License-Identifier: BSD-3-Clause
#include "auth/algorithms.hpp"

#include <openssl/err.h>

#include <array>

#include "auth/evp.hpp"

namespace flowfs::auth {
namespace {

constexpr std::array kKeyExchanges{
    KeyExchangeInfo{KeyExchange::x25519, "x25519", 32, 32, false, false},
    KeyExchangeInfo{KeyExchange::x448, "x448", 56, 56, false, false},
    KeyExchangeInfo{KeyExchange::p256, "p-256", 65, 65, false, false},
    KeyExchangeInfo{KeyExchange::p384, "p-384", 97, 97, false, false},
    KeyExchangeInfo{KeyExchange::p521, "p-521", 133, 133, false, false},
    KeyExchangeInfo{KeyExchange::ffdhe2048, "ffdhe2048", 256, 256, false, false},
    KeyExchangeInfo{KeyExchange::ffdhe3072, "ffdhe3072", 384, 384, false, false},
    KeyExchangeInfo{KeyExchange::ffdhe4096, "ffdhe4096", 512, 512, false, false},
    KeyExchangeInfo{KeyExchange::ml_kem_768, "ml-kem-768", 1184, 1088, true, false},
    KeyExchangeInfo{KeyExchange::x25519_ml_kem_768, "x25519+ml-kem-768", 1184 + 32, 1088 + 32, true,
                    false},
    KeyExchangeInfo{KeyExchange::ml_kem_768_client, "ml-kem-768-client", 32 + 1088, 0, true, true},
    KeyExchangeInfo{KeyExchange::x25519_ml_kem_768_client, "x25519+ml-kem-768-client",
                    32 + 1088 + 32, 32, true, true},
};

constexpr std::array kCiphers{
    CipherInfo{Cipher::aes_128_gcm, "aes-128-gcm", 16},
    CipherInfo{Cipher::aes_256_gcm, "aes-256-gcm", 32},
    CipherInfo{Cipher::chacha20_poly1305, "chacha20-poly1305", 32},
};

constexpr std::array kKdfs{KdfInfo{Kdf::hkdf, "hkdf"}};

constexpr std::array kDigests{
    DigestInfo{Digest::sha256, "sha-256", 32},
    DigestInfo{Digest::sha384, "sha-384", 48},
    DigestInfo{Digest::sha512, "sha-512", 64},
    DigestInfo{Digest::sha3_256, "sha3-256", 32},
    DigestInfo{Digest::sha3_384, "sha3-384", 48},
    DigestInfo{Digest::sha3_512, "sha3-512", 64},
    DigestInfo{Digest::blake2s_256, "blake2s-256", 32},
    DigestInfo{Digest::blake2b_512, "blake2b-512", 64},
};

bool has_ml_kem() {
  static const bool found = [] {
    ERR_set_mark();  // that it is not there is no error
    EVP_KEM* const kem = EVP_KEM_fetch(nullptr, "ML-KEM-768", nullptr);
    ERR_pop_to_mark();
    EVP_KEM_free(kem);
    return kem != nullptr;
  }();
  return found;
}

}  // namespace

std::span<const KeyExchangeInfo> all(KeyExchange) { return kKeyExchanges; }
std::span<const CipherInfo> all(Cipher) { return kCiphers; }
std::span<const KdfInfo> all(Kdf) { return kKdfs; }
std::span<const DigestInfo> all(Digest) { return kDigests; }

bool available(KeyExchange code) {
  const KeyExchangeInfo* const info = find(code);
  return info != nullptr && (!info->post_quantum || has_ml_kem());
}

const char* openssl_name(Cipher code) {
  switch (code) {
    case Cipher::aes_128_gcm:
      return "AES-128-GCM";
    case Cipher::aes_256_gcm:
      return "AES-256-GCM";
    case Cipher::chacha20_poly1305:
      return "ChaCha20-Poly1305";
    case Cipher::none:
      break;
  }
  return nullptr;
}

const char* openssl_name(Digest code) {
  switch (code) {
    case Digest::sha256:
      return "SHA2-256";
    case Digest::sha384:
      return "SHA2-384";
    case Digest::sha512:
      return "SHA2-512";
    case Digest::sha3_256:
      return "SHA3-256";
    case Digest::sha3_384:
      return "SHA3-384";
    case Digest::sha3_512:
      return "SHA3-512";
    case Digest::blake2s_256:
      return "BLAKE2S-256";
    case Digest::blake2b_512:
      return "BLAKE2B-512";
    case Digest::none:
      break;
  }
  return nullptr;
}

}  // namespace flowfs::auth
