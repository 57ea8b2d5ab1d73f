// SPDX-License-Identifier: BSD-3-Clause
#include "auth/kem_key.hpp"

#include <openssl/pem.h>

#include <algorithm>
#include <utility>

#include "auth/algorithms.hpp"
#include "auth/credentials.hpp"
#include "auth/hkdf.hpp"
#include "auth/x509.hpp"

namespace flowfs::auth {
namespace {

constexpr const char* kMlKem = "ML-KEM-768";

}  // namespace

void KemKey::Free::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

// `there`: the text looks as if it had one.
Result<KemKey> KemKey::check(KemKey key, bool encrypted, bool there) {
  if (encrypted) {
    return fail(EKEYREJECTED, "the key is encrypted, and nobody is asked for its password");
  }
  if (!there) {
    return fail(ENOKEY, "there is no such key in it");
  }
  if (!available(KeyExchange::ml_kem_768)) {
    return fail(EKEYREJECTED, "it cannot be used: this OpenSSL has no ML-KEM");
  }
  if (key.get() == nullptr) {
    return fail(EBADMSG, "the key is malformed or cut short");
  }
  if (EVP_PKEY_is_a(key.get(), kMlKem) != 1) {
    return fail(EKEYREJECTED, "the key is not one of ML-KEM-768");
  }
  unsigned char* encoded = nullptr;
  const std::size_t size = EVP_PKEY_get1_encoded_public_key(key.get(), &encoded);
  const EncodedPtr owned(encoded);
  auto id = hash(Digest::sha256, {std::as_bytes(std::span(encoded, size))});
  if (size == 0 || !id) {
    return fail(EKEYREJECTED, "the key has no public half");
  }
  key.id_ = std::move(*id);
  return key;
}

Result<KemKey> KemKey::parse_private(std::string_view pem) {
  if (pem.size() > kLongestPem) {
    return fail(EFBIG, "the key is too long");
  }
  const ErrorMark mark;
  bool asked = false;
  KemKey key(PEM_read_bio_PrivateKey(text_bio(pem).get(), nullptr, refuse_password, &asked));
  return check(std::move(key), asked, pem.contains("PRIVATE KEY-----"));
}

Result<KemKey> KemKey::parse_public(std::string_view pem) {
  if (pem.size() > kLongestPem) {
    return fail(EFBIG, "the key is too long");
  }
  const ErrorMark mark;
  bool asked = false;
  KemKey key(PEM_read_bio_PUBKEY(text_bio(pem).get(), nullptr, refuse_password, &asked));
  return check(std::move(key), asked, pem.contains("PUBLIC KEY-----"));
}

Result<KemPair> make_kem_pair() {
  if (!available(KeyExchange::ml_kem_768)) {
    return fail(EOPNOTSUPP, "this OpenSSL has no ML-KEM");
  }
  const ErrorMark mark;
  const PkeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, kMlKem));
  const BioPtr secret(BIO_new(BIO_s_secmem()));
  const BioPtr text(BIO_new(BIO_s_mem()));
  if (key == nullptr || secret == nullptr || text == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                    nullptr) != 1 ||
      PEM_write_bio_PUBKEY(text.get(), key.get()) != 1) {
    return fail(EIO, "key");
  }
  const std::string_view written = content_of(secret.get());
  KemPair pair{.private_half = Secret(written.size()),
               .public_half = std::string(content_of(text.get()))};
  std::ranges::copy(std::as_bytes(std::span(written)), pair.private_half.writable().begin());
  return pair;
}

}  // namespace flowfs::auth
