// SPDX-License-Identifier: BSD-3-Clause
#include "auth/issue.hpp"

#include <openssl/bn.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>

#include "auth/credentials.hpp"
#include "auth/x509.hpp"

namespace flowfs::auth {
namespace {

constexpr long kVersion3 = 2;  // as X.509 counts
constexpr long kCrlVersion2 = 1;
constexpr int kSerialBits = 127;
constexpr std::time_t kSecondsOfDay = 24 * 60 * 60;

using BignumPtr = std::unique_ptr<BIGNUM, FreedBy<BN_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreedBy<X509_EXTENSION_free>>;
using RevokedPtr = std::unique_ptr<X509_REVOKED, FreedBy<X509_REVOKED_free>>;
using TimePtr = std::unique_ptr<ASN1_TIME, FreedBy<ASN1_TIME_free>>;

struct Extension {
  int nid;
  std::string value;  // as in a configuration of OpenSSL
};

TimePtr time_of(std::time_t time) { return TimePtr(ASN1_TIME_set(nullptr, time)); }

bool set_serial(X509* certificate) {
  const BignumPtr number(BN_new());
  return number != nullptr &&
         BN_rand(number.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_validity(X509* certificate, Validity validity) {
  const TimePtr from = time_of(validity.from);
  const TimePtr until = time_of(validity.from + validity.days * kSecondsOfDay);
  return from != nullptr && until != nullptr && X509_set1_notBefore(certificate, from.get()) == 1 &&
         X509_set1_notAfter(certificate, until.get()) == 1;
}

bool set_subject(X509* certificate, std::string_view common_name) {
  X509_NAME* const subject = X509_get_subject_name(certificate);
  return X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(common_name.data()),
                                    static_cast<int>(common_name.size()), -1, 0) == 1;
}

bool add_extensions(X509* certificate, X509* issuer, std::span<const Extension> extensions) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  return std::ranges::all_of(extensions, [&](const Extension& extension) {
    const ExtensionPtr made(
        X509V3_EXT_conf_nid(nullptr, &context, extension.nid, extension.value.c_str()));
    return made != nullptr && X509_add_ext(certificate, made.get(), -1) == 1;
  });
}

Result<Issued> as_pem(X509* certificate, EVP_PKEY* key) {
  const BioPtr text(BIO_new(BIO_s_mem()));
  const BioPtr secret(BIO_new(BIO_s_secmem()));
  if (text == nullptr || secret == nullptr || PEM_write_bio_X509(text.get(), certificate) != 1 ||
      PEM_write_bio_PKCS8PrivateKey(secret.get(), key, nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return fail(EIO, "PEM");
  }
  const std::string_view written = content_of(secret.get());
  Issued issued{.certificate = std::string(content_of(text.get())), .key = Secret(written.size())};
  std::ranges::copy(std::as_bytes(std::span(written)), issued.key.writable().begin());
  return issued;
}

// What signs: the subject itself for an authority.
struct Signer {
  X509* certificate = nullptr;  // null: it signs itself
  EVP_PKEY* key = nullptr;
};

Result<Issued> make(std::string_view common_name, Validity validity, Signer signer,
                    std::span<const Extension> extensions) {
  const ErrorMark mark;
  const PkeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  const X509Ptr certificate(X509_new());
  if (key == nullptr || certificate == nullptr) {
    return fail(EIO, "key");
  }
  X509* const issuer = signer.certificate == nullptr ? certificate.get() : signer.certificate;
  if (X509_set_version(certificate.get(), kVersion3) != 1 || !set_serial(certificate.get()) ||
      !set_validity(certificate.get(), validity) || !set_subject(certificate.get(), common_name) ||
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) != 1 ||
      X509_set_pubkey(certificate.get(), key.get()) != 1 ||
      !add_extensions(certificate.get(), issuer, extensions) ||
      X509_sign(certificate.get(), signer.key == nullptr ? key.get() : signer.key, nullptr) == 0) {
    return fail(EIO, "certificate");
  }
  return as_pem(certificate.get(), key.get());
}

// What cannot be read as more than one value of an extension.
bool is_plain(std::string_view text) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@-";
  return !text.empty() && text.find_first_not_of(kAllowed) == std::string_view::npos;
}

X509Ptr read_certificate(std::string_view pem) {
  return X509Ptr(PEM_read_bio_X509(text_bio(pem).get(), nullptr, nullptr, nullptr));
}

struct Authority {
  X509Ptr certificate;
  PkeyPtr key;
};

Result<Authority> read_authority(std::string_view certificate, std::string_view key) {
  // Refused in the words of a credential, then read again as what OpenSSL signs with.
  if (const auto fits = Credential::parse(certificate, key); !fits) {
    return std::unexpected(fits.error());
  }
  Authority authority{
      .certificate = read_certificate(certificate),
      .key = PkeyPtr(PEM_read_bio_PrivateKey(text_bio(key).get(), nullptr, nullptr, nullptr))};
  if (authority.certificate == nullptr || authority.key == nullptr) {
    return fail(EIO, "authority");
  }
  if (X509_check_ca(authority.certificate.get()) != 1) {
    return fail(EKEYREJECTED, "the certificate is not that of an authority");
  }
  return authority;
}

bool add_revoked(X509_CRL* list, X509* certificate, ASN1_TIME* since) {
  X509_REVOKED* known = nullptr;
  if (X509_CRL_get0_by_serial(list, &known, X509_get_serialNumber(certificate)) != 0) {
    return true;
  }
  RevokedPtr entry(X509_REVOKED_new());
  if (entry == nullptr ||
      X509_REVOKED_set_serialNumber(entry.get(), X509_get_serialNumber(certificate)) != 1 ||
      X509_REVOKED_set_revocationDate(entry.get(), since) != 1) {
    return false;
  }
  X509_REVOKED* const added = entry.release();
  if (X509_CRL_add0_revoked(list, added) != 1) {
    X509_REVOKED_free(added);
    return false;
  }
  return true;
}

}  // namespace

Result<Issued> make_authority(std::string_view common_name, Validity validity) {
  const std::array extensions{Extension{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                              Extension{NID_key_usage, "critical,keyCertSign,cRLSign"},
                              Extension{NID_subject_key_identifier, "hash"}};
  return make(common_name, validity, {}, extensions);
}

Result<Issued> issue(std::string_view authority, std::string_view authority_key,
                     const Request& request, Validity validity) {
  std::string names = "URI:flowfs:" + request.name;
  bool plain = is_plain(request.name);
  for (const std::string& host : request.hosts) {
    names += ",DNS:" + host;
    plain = plain && is_plain(host);
  }
  if (!plain) {
    return fail(EINVAL, "a name or a host has characters that none may have");
  }
  const ErrorMark mark;
  const Result<Authority> signer = read_authority(authority, authority_key);
  if (!signer) {
    return std::unexpected(signer.error());
  }
  const std::array extensions{
      Extension{NID_basic_constraints, "critical,CA:FALSE"},
      Extension{NID_key_usage, "critical,digitalSignature"},
      Extension{NID_ext_key_usage,
                request.purpose == Purpose::server ? "serverAuth" : "clientAuth"},
      Extension{NID_subject_key_identifier, "hash"},
      Extension{NID_authority_key_identifier, "keyid"},
      Extension{NID_subject_alt_name, names}};
  return make(request.common_name, validity, {signer->certificate.get(), signer->key.get()},
              extensions);
}

Result<std::string> revoke(std::string_view authority, std::string_view authority_key,
                           std::string_view before, std::string_view certificate,
                           Validity validity) {
  const ErrorMark mark;
  const Result<Authority> signer = read_authority(authority, authority_key);
  if (!signer) {
    return std::unexpected(signer.error());
  }
  const X509Ptr revoked = read_certificate(certificate);
  const CrlPtr list(before.empty()
                        ? X509_CRL_new()
                        : PEM_read_bio_X509_CRL(text_bio(before).get(), nullptr, nullptr, nullptr));
  if (revoked == nullptr || list == nullptr) {
    return fail(EBADMSG, "certificate or list");
  }
  const TimePtr from = time_of(validity.from);
  const TimePtr until = time_of(validity.from + validity.days * kSecondsOfDay);
  const BioPtr text(BIO_new(BIO_s_mem()));
  if (from == nullptr || until == nullptr || text == nullptr ||
      !add_revoked(list.get(), revoked.get(), from.get())) {
    return fail(EIO, "list of revoked certificates");
  }
  if (X509_CRL_set_version(list.get(), kCrlVersion2) != 1 ||
      X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(signer->certificate.get())) != 1 ||
      X509_CRL_set1_lastUpdate(list.get(), from.get()) != 1 ||
      X509_CRL_set1_nextUpdate(list.get(), until.get()) != 1 || X509_CRL_sort(list.get()) != 1 ||
      X509_CRL_sign(list.get(), signer->key.get(), nullptr) == 0 ||
      PEM_write_bio_X509_CRL(text.get(), list.get()) != 1) {
    return fail(EIO, "list of revoked certificates");
  }
  return std::string(content_of(text.get()));
}

}  // namespace flowfs::auth
