// SPDX-License-Identifier: BSD-3-Clause
#include "auth/hkdf.hpp"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include <array>
#include <atomic>

#include "auth/evp.hpp"

namespace flowfs::auth {
namespace {

// OSSL_PARAM has no notion of const, and OpenSSL only reads what is set with it.
template <typename T>
T* writable(const T* read_only) {
  return const_cast<T*>(read_only);  // NOLINT(cppcoreguidelines-pro-type-const-cast)
}

OSSL_PARAM octets(const char* key, View bytes) {
  return OSSL_PARAM_construct_octet_string(key, writable(bytes.data()), bytes.size());
}

// Looked up once, as that takes longer than a derivation; but again where it failed for want of
// memory.
KdfCtxPtr new_hkdf() {
  static std::atomic<EVP_KDF*> found = nullptr;
  EVP_KDF* function = found.load(std::memory_order_acquire);  // pairs with the exchange below
  if (function == nullptr) {
    KdfPtr mine(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
    // acq_rel, pairs with the load above and with itself: whoever finds it finds it made.
    if (found.compare_exchange_strong(function, mine.get(), std::memory_order_acq_rel)) {
      function = mine.release();  // and kept as long as the process
    }
  }
  return KdfCtxPtr(EVP_KDF_CTX_new(function));
}

}  // namespace

Result<Secret> hkdf(Digest digest, View key, View salt, View info, std::size_t size) {
  const char* const name = openssl_name(digest);
  const KdfCtxPtr context = new_hkdf();
  if (name == nullptr || context == nullptr) {
    return fail(EINVAL, "HKDF");
  }
  std::array<OSSL_PARAM, 5> params{
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, writable(name), 0),
      octets(OSSL_KDF_PARAM_KEY, key)};
  std::size_t used = 2;
  if (!salt.empty()) {
    params.at(used++) = octets(OSSL_KDF_PARAM_SALT, salt);
  }
  if (!info.empty()) {
    params.at(used++) = octets(OSSL_KDF_PARAM_INFO, info);
  }
  params.at(used) = OSSL_PARAM_construct_end();
  Secret derived(size);
  if (EVP_KDF_derive(context.get(), raw_out(derived.writable()), size, params.data()) != 1) {
    return fail(EINVAL, "HKDF");
  }
  return derived;
}

Result<Secret> hkdf(Digest digest, View key, View salt, std::string_view info, std::size_t size) {
  return hkdf(digest, key, salt, std::as_bytes(std::span(info)), size);
}

Result<Bytes> hash(Digest digest, std::initializer_list<View> parts) {
  const char* const name = openssl_name(digest);
  const MdPtr function(name == nullptr ? nullptr : EVP_MD_fetch(nullptr, name, nullptr));
  const MdCtxPtr context(EVP_MD_CTX_new());
  if (function == nullptr || context == nullptr ||
      EVP_DigestInit_ex2(context.get(), function.get(), nullptr) != 1) {
    return fail(EINVAL, "hash");
  }
  for (const View part : parts) {
    if (EVP_DigestUpdate(context.get(), part.data(), part.size()) != 1) {
      return fail(EINVAL, "hash");
    }
  }
  Bytes value(static_cast<std::size_t>(EVP_MD_get_size(function.get())));
  unsigned size = 0;
  if (EVP_DigestFinal_ex(context.get(), raw_out(value), &size) != 1) {
    return fail(EINVAL, "hash");
  }
  return value;
}

}  // namespace flowfs::auth
