// SPDX-License-Identifier: BSD-3-Clause
// OpenSSL's objects as move-only values. For sources of this layer alone: no header of ours that
// others include may need OpenSSL's.
#pragma once

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <memory>

namespace flowfs::auth {

template <auto free_it>
struct FreedBy {
  template <typename T>
  void operator()(T* object) const {
    free_it(object);
  }
};

// What OpenSSL has written to memory of its own.
using EncodedPtr =
    std::unique_ptr<unsigned char, decltype([](unsigned char* bytes) { OPENSSL_free(bytes); })>;

using PkeyPtr = std::unique_ptr<EVP_PKEY, FreedBy<EVP_PKEY_free>>;
using PkeyCtxPtr = std::unique_ptr<EVP_PKEY_CTX, FreedBy<EVP_PKEY_CTX_free>>;
using MdPtr = std::unique_ptr<EVP_MD, FreedBy<EVP_MD_free>>;
using MdCtxPtr = std::unique_ptr<EVP_MD_CTX, FreedBy<EVP_MD_CTX_free>>;
using KdfPtr = std::unique_ptr<EVP_KDF, FreedBy<EVP_KDF_free>>;
using KdfCtxPtr = std::unique_ptr<EVP_KDF_CTX, FreedBy<EVP_KDF_CTX_free>>;
using CipherCtxPtr = std::unique_ptr<EVP_CIPHER_CTX, FreedBy<EVP_CIPHER_CTX_free>>;

}  // namespace flowfs::auth
