// SPDX-License-Identifier: BSD-3-Clause
#include "auth/credentials.hpp"

#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <utility>

#include "auth/evp.hpp"
#include "auth/x509.hpp"

namespace flowfs::auth {
namespace {

constexpr int kLeastRsaBits = 2048;
constexpr int kMostRsaBits = 8192;
constexpr std::string_view kUriOfName = "flowfs:";

// How a key signs: the digest is null for the Edwards curves, which have their own.
struct Scheme {
  bool accepted = false;
  const char* digest = nullptr;
  bool pss = false;
};

Scheme scheme_of_curve(const EVP_PKEY* key) {
  std::array<char, 32> name{};
  std::size_t length = 0;
  if (EVP_PKEY_get_group_name(key, name.data(), name.size(), &length) != 1) {
    return {};  // parameters of its own instead of a named curve
  }
  const std::string_view curve(name.data(), length);
  if (curve == SN_X9_62_prime256v1) {
    return {.accepted = true, .digest = "SHA2-256"};
  }
  if (curve == SN_secp384r1) {
    return {.accepted = true, .digest = "SHA2-384"};
  }
  if (curve == SN_secp521r1) {
    return {.accepted = true, .digest = "SHA2-512"};
  }
  return {};
}

Scheme scheme_of(const EVP_PKEY* key) {
  switch (key == nullptr ? EVP_PKEY_NONE : EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA: {
      const int bits = EVP_PKEY_get_bits(key);
      return {.accepted = bits >= kLeastRsaBits && bits <= kMostRsaBits,
              .digest = "SHA2-256",
              .pss = true};
    }
    case EVP_PKEY_EC:
      return scheme_of_curve(key);
    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448:
      return {.accepted = true};
    default:
      return {};
  }
}

// Of both signing and verifying, once the key is in the context.
bool set_padding(EVP_PKEY_CTX* key_context, const Scheme& scheme) {
  return !scheme.pss ||
         (EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING) == 1 &&
          EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, RSA_PSS_SALTLEN_DIGEST) == 1);
}

bool only_end_reached() { return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE; }

}  // namespace

BioPtr text_bio(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string_view content_of(BIO* bio) {
  char* text = nullptr;
  const long bytes = BIO_get_mem_data(bio, &text);
  return {text, static_cast<std::size_t>(std::max<long>(bytes, 0))};
}

std::time_t in_seconds(const ASN1_TIME* time) {
  std::tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? ::timegm(&parts) : 0;
}

int refuse_password(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

void Certificate::Free::operator()(x509_st* certificate) const { X509_free(certificate); }
void PrivateKey::Free::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

Result<Certificate> Certificate::from_der(View der) {
  if (der.size() > kLongestPem) {
    return fail(EFBIG, "the certificate is too long");
  }
  const ErrorMark mark;
  const unsigned char* at = raw(der);
  Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (certificate.get() == nullptr || at != raw(der) + der.size()) {
    return fail(EBADMSG, "the certificate is malformed or cut short");
  }
  return certificate;
}

Certificate Certificate::share() const {
  X509_up_ref(certificate_.get());
  return Certificate(certificate_.get());
}

Bytes Certificate::der() const {
  unsigned char* encoded = nullptr;
  const int size = i2d_X509(certificate_.get(), &encoded);
  const EncodedPtr owned(encoded);
  const auto bytes = std::as_bytes(std::span(static_cast<const unsigned char*>(encoded),
                                             static_cast<std::size_t>(std::max(size, 0))));
  return {bytes.begin(), bytes.end()};
}

std::string Certificate::subject() const {
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (out == nullptr || X509_NAME_print_ex(out.get(), X509_get_subject_name(certificate_.get()), 0,
                                           XN_FLAG_RFC2253) < 0) {
    return {};
  }
  return std::string(content_of(out.get()));
}

std::time_t Certificate::valid_until() const {
  return in_seconds(X509_get0_notAfter(certificate_.get()));
}

std::vector<std::string> Certificate::alternative_names() const {
  std::vector<std::string> result;
  const ErrorMark mark;
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate_.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int type = 0;
    const void* const value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type);
    if (type != GEN_DNS && type != GEN_URI) {
      continue;
    }
    const auto* const string = static_cast<const ASN1_IA5STRING*>(value);
    const std::string_view text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                                static_cast<std::size_t>(ASN1_STRING_length(string)));
    if (type == GEN_DNS) {
      result.push_back("DNS:" + std::string(text));
    } else if (text.starts_with(kUriOfName)) {
      result.push_back("URI:" + std::string(text));
    }
  }
  return result;
}

bool Certificate::has_accepted_key() const {
  const ErrorMark mark;
  return scheme_of(X509_get0_pubkey(certificate_.get())).accepted;
}

bool Certificate::verify_signature(View message, View signature) const {
  const ErrorMark mark;
  EVP_PKEY* const key = X509_get0_pubkey(certificate_.get());
  const Scheme scheme = scheme_of(key);
  const MdCtxPtr context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;  // the context's
  return scheme.accepted && context != nullptr &&
         EVP_DigestVerifyInit_ex(context.get(), &key_context, scheme.digest, nullptr, nullptr, key,
                                 nullptr) == 1 &&
         set_padding(key_context, scheme) &&
         EVP_DigestVerify(context.get(), raw(signature), signature.size(), raw(message),
                          message.size()) == 1;
}

Result<std::vector<Certificate>> parse_certificates(std::string_view pem, std::size_t most) {
  if (pem.size() > kLongestPem) {
    return fail(EFBIG, "the certificates are too long");
  }
  const ErrorMark mark;
  const BioPtr text = text_bio(pem);
  std::vector<Certificate> result;
  bool asked = false;  // of an encrypted block, which nobody has
  while (X509Ptr next{PEM_read_bio_X509(text.get(), nullptr, refuse_password, &asked)}) {
    result.push_back(Certificate(next.release()));
    if (result.size() > most) {
      return fail(EFBIG, "there are too many certificates");
    }
  }
  if (!only_end_reached()) {
    return fail(EBADMSG, "a certificate is malformed or cut short");
  }
  if (result.empty()) {
    return fail(ENOKEY, "there is no certificate in it");
  }
  return result;
}

Result<PrivateKey> PrivateKey::parse(std::string_view pem) {
  if (pem.size() > kLongestPem) {
    return fail(EFBIG, "the key is too long");
  }
  const ErrorMark mark;
  const BioPtr text = text_bio(pem);
  bool asked = false;
  PrivateKey key(PEM_read_bio_PrivateKey(text.get(), nullptr, refuse_password, &asked));
  if (asked) {
    return fail(EKEYREJECTED, "the key is encrypted, and nobody is asked for its password");
  }
  if (key.key_ == nullptr) {
    return pem.contains("PRIVATE KEY-----") ? fail(EBADMSG, "the key is malformed or cut short")
                                            : fail(ENOKEY, "there is no private key in it");
  }
  if (!scheme_of(key.key_.get()).accepted) {
    return fail(EKEYREJECTED, "the key is of a kind or length that is not accepted");
  }
  return key;
}

bool PrivateKey::belongs_to(const Certificate& certificate) const {
  const ErrorMark mark;
  return X509_check_private_key(certificate.get(), key_.get()) == 1;
}

Result<Bytes> PrivateKey::sign(View message) const {
  ERR_clear_error();  // what is there afterwards is of this signature
  const ErrorMark mark;
  const Scheme scheme = scheme_of(key_.get());
  const MdCtxPtr context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;  // the context's
  std::size_t size = 0;
  if (context == nullptr ||
      EVP_DigestSignInit_ex(context.get(), &key_context, scheme.digest, nullptr, nullptr,
                            key_.get(), nullptr) != 1 ||
      !set_padding(key_context, scheme) ||
      EVP_DigestSign(context.get(), nullptr, &size, raw(message), message.size()) != 1) {
    return fail(EIO, "sign");
  }
  Bytes signature(size);
  if (EVP_DigestSign(context.get(), raw_out(signature), &size, raw(message), message.size()) != 1) {
    return fail(EIO, "sign");
  }
  // OpenSSL 3.0 goes on without the memory that an ECDSA signature wants, to one that is wrong, and
  // a wrong one might tell of the key.
  if (ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE) {
    return fail(ENOMEM, "sign");
  }
  signature.resize(size);  // of ECDSA it is often shorter than the longest
  return signature;
}

Result<Credential> Credential::parse(std::string_view certificates, std::string_view key) {
  Result<std::vector<Certificate>> chain = parse_certificates(certificates);
  if (!chain) {
    return std::unexpected(chain.error());
  }
  Result<PrivateKey> parsed = PrivateKey::parse(key);
  if (!parsed) {
    return std::unexpected(parsed.error());
  }
  return combine(std::move(*chain), std::move(*parsed));
}

Result<Credential> Credential::combine(std::vector<Certificate> chain, PrivateKey key) {
  if (chain.empty() || !key.belongs_to(chain.front())) {
    return fail(EKEYREJECTED, "the key is not that of the (first) certificate");
  }
  return Credential(std::move(chain), std::move(key));
}

}  // namespace flowfs::auth
