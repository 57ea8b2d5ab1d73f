// SPDX-License-Identifier: BSD-3-Clause
#include "auth/aead.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <climits>

#include "auth/evp.hpp"

namespace flowfs::auth {
namespace {

using CipherPtr = std::unique_ptr<EVP_CIPHER, FreedBy<EVP_CIPHER_free>>;

// OpenSSL counts in int.
bool countable(View header, View message) {
  return header.size() <= INT_MAX && message.size() <= INT_MAX;
}

}  // namespace

void Aead::Free::operator()(evp_cipher_ctx_st* context) const { EVP_CIPHER_CTX_free(context); }

Result<Aead> Aead::create(Cipher cipher, View key, Use use) {
  const CipherInfo* const info = find(cipher);
  if (info == nullptr || key.size() != info->key_bytes) {
    return fail(EINVAL, "cipher key");
  }
  const CipherPtr function(EVP_CIPHER_fetch(nullptr, openssl_name(cipher), nullptr));
  Context context(EVP_CIPHER_CTX_new());
  if (function == nullptr || context == nullptr ||
      EVP_CipherInit_ex2(context.get(), function.get(), raw(key), nullptr, use == Use::seal ? 1 : 0,
                         nullptr) != 1) {
    return fail(EINVAL, "cipher");
  }
  return Aead(std::move(context));
}

bool Aead::seal(const Nonce& nonce, View header, View plain, std::span<std::byte> out,
                std::span<std::byte, kTagBytes> tag) {
  EVP_CIPHER_CTX* const context = context_.get();
  int done = 0;
  return countable(header, plain) && out.size() == plain.size() &&
         EVP_EncryptInit_ex2(context, nullptr, nullptr, raw(nonce), nullptr) == 1 &&
         EVP_EncryptUpdate(context, nullptr, &done, raw(header), static_cast<int>(header.size())) ==
             1 &&
         EVP_EncryptUpdate(context, raw_out(out), &done, raw(plain),
                           static_cast<int>(plain.size())) == 1 &&
         EVP_EncryptFinal_ex(context, raw_out(tag), &done) ==
             1 &&  // writes nothing for these ciphers
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag.data()) == 1;
}

bool Aead::open(const Nonce& nonce, View header, View sealed,
                std::span<const std::byte, kTagBytes> tag, std::span<std::byte> out) {
  EVP_CIPHER_CTX* const context = context_.get();
  if (!countable(header, sealed) || out.size() != sealed.size()) {
    return false;
  }
  std::array<std::byte, kTagBytes> expected{};  // OpenSSL wants to be able to write to it
  std::ranges::copy(tag, expected.begin());
  int done = 0;
  const bool good =
      EVP_DecryptInit_ex2(context, nullptr, nullptr, raw(nonce), nullptr) == 1 &&
      EVP_DecryptUpdate(context, nullptr, &done, raw(header), static_cast<int>(header.size())) ==
          1 &&
      EVP_DecryptUpdate(context, raw_out(out), &done, raw(sealed),
                        static_cast<int>(sealed.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, expected.data()) == 1 &&
      EVP_DecryptFinal_ex(context, raw_out(expected), &done) == 1;
  if (!good) {
    OPENSSL_cleanse(out.data(), out.size());
  }
  return good;
}

}  // namespace flowfs::auth
