// SPDX-License-Identifier: BSD-3-Clause
#include "bare_cipher.hpp"

#include <openssl/evp.h>

#include <array>
#include <chrono>
#include <memory>
#include <vector>

#include "transport.hpp"

namespace flowfs::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Key make_key(const char* kind) {
  Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, kind), &EVP_PKEY_free);
  if (!key) {
    die(kind);
  }
  return key;
}

void derive(EVP_PKEY* own, EVP_PKEY* peer) {
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new(own, nullptr), &EVP_PKEY_CTX_free);
  std::array<unsigned char, 32> secret{};
  std::size_t size = secret.size();
  if (EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), peer) != 1 ||
      EVP_PKEY_derive(context.get(), secret.data(), &size) != 1) {
    die("X25519");
  }
}

using Signature = std::array<unsigned char, 64>;
constexpr std::array<unsigned char, 512> kText{};  // about as long as a header

Signature sign(EVP_PKEY* key) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  Signature signature{};
  std::size_t size = signature.size();
  if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key) != 1 ||
      EVP_DigestSign(context.get(), signature.data(), &size, kText.data(), kText.size()) != 1) {
    die("Ed25519");
  }
  return signature;
}

void verify(EVP_PKEY* key, const Signature& signature) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  if (EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key) != 1 ||
      EVP_DigestVerify(context.get(), signature.data(), signature.size(), kText.data(),
                       kText.size()) != 1) {
    die("Ed25519");
  }
}

}  // namespace

double bare_cipher(const char* cipher, std::size_t bytes, std::size_t messages) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  const std::vector<unsigned char> key(32);
  std::vector<unsigned char> message(bytes);
  std::vector<unsigned char> nonce(12);
  if (EVP_EncryptInit_ex(context.get(), EVP_get_cipherbyname(cipher), nullptr, key.data(),
                         nonce.data()) != 1) {
    die(cipher);
  }
  const auto start = Clock::now();
  for (std::size_t i = 0; i < messages; ++i) {
    int done = 0;
    ++nonce[i % nonce.size()];
    if (EVP_EncryptInit_ex(context.get(), nullptr, nullptr, nullptr, nonce.data()) != 1 ||
        EVP_EncryptUpdate(context.get(), message.data(), &done, message.data(),
                          static_cast<int>(bytes)) != 1 ||
        EVP_EncryptFinal_ex(context.get(), message.data(), &done) != 1) {
      die(cipher);
    }
  }
  const std::chrono::duration<double> taken = Clock::now() - start;
  return static_cast<double>(messages * bytes) / taken.count();
}

double bare_handshake() {
  static const Key signer = make_key("ED25519");
  static const Signature certificate = sign(signer.get());
  const auto start = Clock::now();
  const Key client = make_key("X25519");
  const Key server = make_key("X25519");
  derive(server.get(), client.get());
  const Signature signature = sign(signer.get());
  verify(signer.get(), certificate);
  verify(signer.get(), signature);
  derive(client.get(), server.get());
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

}  // namespace flowfs::bench
