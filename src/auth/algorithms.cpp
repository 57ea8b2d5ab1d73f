// SPDX-License-Identifier: BSD-3-Clause
#include "auth/algorithms.hpp"

#include <openssl/err.h>

#include <array>
#include <atomic>

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

// Looked for until the answer is one that stays: not that there was no memory to look.
bool has_ml_kem() {
  enum class Found : std::uint8_t { unknown, no, yes };
  static std::atomic<Found> found = Found::unknown;
  // relaxed: whoever sees an older answer comes to the same one again.
  if (found.load(std::memory_order_relaxed) == Found::unknown) {
    ERR_set_mark();  // that it is not there is no error
    EVP_KEM* const kem = EVP_KEM_fetch(nullptr, "ML-KEM-768", nullptr);
    const int reason = ERR_GET_REASON(ERR_peek_last_error());
    ERR_pop_to_mark();
    EVP_KEM_free(kem);
    if (kem != nullptr) {
      found.store(Found::yes, std::memory_order_relaxed);
    } else if (reason != ERR_R_MALLOC_FAILURE) {
      found.store(Found::no, std::memory_order_relaxed);
    }
  }
  return found.load(std::memory_order_relaxed) == Found::yes;
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
