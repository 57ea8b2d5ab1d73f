// SPDX-License-Identifier: BSD-3-Clause
#include "auth/certificates.hpp"

#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <utility>

#include "auth/hkdf.hpp"
#include "auth/x509.hpp"

namespace flowfs::auth {
namespace {

constexpr int kMostIntermediates = 4;
constexpr int kSecurityLevel = 2;

constexpr std::array kVerdicts{
    VerdictInfo{Verdict::ok, 0, "ok", "the chain is good"},
    VerdictInfo{Verdict::no_certificate, ENOKEY, "no-certificate", "there is no certificate"},
    VerdictInfo{Verdict::malformed, EKEYREJECTED, "malformed",
                "a certificate is malformed or cut short"},
    VerdictInfo{Verdict::untrusted, EKEYREJECTED, "untrusted",
                "no authority that is trusted here has signed it"},
    VerdictInfo{Verdict::bad_signature, EKEYREJECTED, "bad-signature",
                "a signature in the chain does not fit"},
    VerdictInfo{Verdict::expired, EKEYEXPIRED, "expired", "a certificate has expired"},
    VerdictInfo{Verdict::not_yet_valid, EKEYREJECTED, "not-yet-valid",
                "a certificate is not valid yet"},
    VerdictInfo{Verdict::revoked, EKEYREVOKED, "revoked", "a certificate has been revoked"},
    VerdictInfo{Verdict::stale_revocations, EKEYREJECTED, "stale-revocations",
                "the list of revoked certificates is not in force (any more)"},
    VerdictInfo{Verdict::wrong_name, EKEYREJECTED, "wrong-name",
                "the certificate is for another name"},
    VerdictInfo{Verdict::only_common_name, EKEYREJECTED, "only-common-name",
                "the certificate has its name only as common name, not as subjectAltName"},
    VerdictInfo{Verdict::wrong_purpose, EKEYREJECTED, "wrong-purpose",
                "the certificate is not for this purpose (extendedKeyUsage, keyUsage)"},
    VerdictInfo{Verdict::not_an_authority, EKEYREJECTED, "not-an-authority",
                "a certificate in the chain may not sign others"},
    VerdictInfo{Verdict::too_deep, EKEYREJECTED, "too-deep", "the chain is too long"},
    VerdictInfo{Verdict::weak_key, EKEYREJECTED, "weak-key",
                "a key or a signature is of a kind or length that is not accepted"},
    VerdictInfo{Verdict::refused, EKEYREJECTED, "refused", "the chain is not acceptable"},
};

Verdict verdict_of(int error) {
  switch (error) {
    case X509_V_OK:
      return Verdict::ok;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
      return Verdict::untrusted;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
      return Verdict::bad_signature;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return Verdict::expired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return Verdict::not_yet_valid;
    case X509_V_ERR_CERT_REVOKED:
      return Verdict::revoked;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
      return Verdict::stale_revocations;
    case X509_V_ERR_INVALID_PURPOSE:
      return Verdict::wrong_purpose;
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
      return Verdict::not_an_authority;
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      return Verdict::too_deep;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
    case X509_V_ERR_EC_KEY_EXPLICIT_PARAMS:
      return Verdict::weak_key;
    default:
      return Verdict::refused;
  }
}

bool has_list_of(X509_STORE* store, const X509_NAME* issuer) {
  const STACK_OF(X509_OBJECT)* const objects = X509_STORE_get0_objects(store);
  for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
    const X509_CRL* const list = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i));
    if (list != nullptr && X509_NAME_cmp(X509_CRL_get_issuer(list), issuer) == 0) {
      return true;
    }
  }
  return false;
}

// An authority without a list has revoked nothing; every other error stands. OpenSSL finds none as
// well where it cannot use the one that is there, or has no memory to look.
int pass_without_revocations(int good, X509_STORE_CTX* context) {
  if (good == 0 && X509_STORE_CTX_get_error(context) == X509_V_ERR_UNABLE_TO_GET_CRL &&
      !has_list_of(X509_STORE_CTX_get0_store(context),
                   X509_get_issuer_name(X509_STORE_CTX_get_current_cert(context)))) {
    X509_STORE_CTX_set_error(context, X509_V_OK);
    return 1;
  }
  return good;
}

// OpenSSL lets pass what has no such extension at all; here a certificate says what it is for.
bool serves(const Certificate& leaf, Purpose purpose) {
  const std::uint32_t wanted = purpose == Purpose::server ? XKU_SSL_SERVER : XKU_SSL_CLIENT;
  const std::uint32_t extended = X509_get_extended_key_usage(leaf.get());
  return extended != UINT32_MAX && (extended & wanted) != 0 &&
         (X509_get_key_usage(leaf.get()) & KU_DIGITAL_SIGNATURE) != 0;
}

bool has_common_name(const Certificate& leaf, std::string_view name) {
  X509_NAME* const subject = X509_get_subject_name(leaf.get());
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
    const ASN1_STRING* const value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    if (name == std::string_view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                                 static_cast<std::size_t>(ASN1_STRING_length(value)))) {
      return true;
    }
  }
  return false;
}

Verdict check_name(const Certificate& leaf, std::string_view name) {
  const std::vector<std::string> names = leaf.alternative_names();
  const std::array wanted{"DNS:" + std::string(name), "URI:flowfs:" + std::string(name)};
  if (std::ranges::find_first_of(names, wanted) != names.end()) {
    return Verdict::ok;
  }
  return names.empty() && has_common_name(leaf, name) ? Verdict::only_common_name
                                                      : Verdict::wrong_name;
}

using StackPtr = std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * stack) {
                                   sk_X509_free(stack);  // the certificates are the caller's
                                 })>;

bool push_all(STACK_OF(X509) * to, std::span<const Certificate> certificates) {
  return std::ranges::all_of(certificates, [to](const Certificate& certificate) {
    return sk_X509_push(to, certificate.get()) > 0;
  });
}

void narrow(Period& period, const ASN1_TIME* from, const ASN1_TIME* until) {
  period.from = std::max(period.from, in_seconds(from));
  if (until != nullptr) {  // a list may go without
    period.until = std::min(period.until, in_seconds(until));
  }
}

// When every certificate of the chain that was found is valid, and every list in force: then the
// same chain is found good.
Period lasting(X509_STORE_CTX* context, const X509_STORE* store) {
  Period period{.from = 0, .until = std::numeric_limits<std::time_t>::max()};
  const STACK_OF(X509)* const chain = X509_STORE_CTX_get0_chain(context);
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    const X509* const certificate = sk_X509_value(chain, i);
    narrow(period, X509_get0_notBefore(certificate), X509_get0_notAfter(certificate));
  }
  const STACK_OF(X509_OBJECT)* const objects = X509_STORE_get0_objects(store);
  for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
    const X509_CRL* const list = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i));
    if (list != nullptr) {
      narrow(period, X509_CRL_get0_lastUpdate(list), X509_CRL_get0_nextUpdate(list));
    }
  }
  return period;
}

Verdict run(X509_STORE_CTX* context, bool with_revocations, Purpose purpose, std::time_t at) {
  X509_VERIFY_PARAM* const rules = X509_STORE_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_purpose(
      rules, purpose == Purpose::server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
  X509_VERIFY_PARAM_set_depth(rules, kMostIntermediates);
  X509_VERIFY_PARAM_set_auth_level(rules, kSecurityLevel);
  X509_VERIFY_PARAM_set_time(rules, at);
  if (with_revocations) {
    X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    X509_STORE_CTX_set_verify_cb(context, pass_without_revocations);
  }
  if (X509_verify_cert(context) == 1) {
    return Verdict::ok;
  }
  const Verdict verdict = verdict_of(X509_STORE_CTX_get_error(context));
  return verdict == Verdict::ok ? Verdict::refused : verdict;  // it ran out of memory
}

}  // namespace

std::span<const VerdictInfo> all(Verdict) { return kVerdicts; }

const VerdictInfo& info(Verdict verdict) {
  const auto* const found = std::ranges::find(kVerdicts, verdict, &VerdictInfo::code);
  FLOWFS_CHECK(found != kVerdicts.end());
  return *found;
}

class Trust::Marking {
 public:
  Marking(Trust& trust, std::string_view what, View added)
      : trust_(trust), next_(next(std::exchange(trust.mark_, {}), what, added)) {}
  void done() { trust_.mark_ = std::move(next_); }

 private:
  static Bytes next(const Bytes& mark, std::string_view what, View added) {
    auto made = hash(Digest::sha256, {mark, std::as_bytes(std::span(what)), added});
    return mark.empty() || !made ? Bytes{} : std::move(*made);
  }

  Trust& trust_;
  Bytes next_;
};

void Trust::Free::operator()(x509_store_st* store) const { X509_STORE_free(store); }

Trust::Trust() : store_(X509_STORE_new()) {
  if (store_ == nullptr) {
    throw std::bad_alloc();
  }
}

Status Trust::add_authorities(std::string_view pem) {
  const Result<std::vector<Certificate>> added = parse_certificates(pem, kMost - authorities_);
  if (!added) {
    return std::unexpected(added.error());
  }
  Marking marking(*this, "authorities", std::as_bytes(std::span(pem)));
  const ErrorMark mark;
  for (const Certificate& authority : *added) {
    if (X509_STORE_add_cert(store_.get(), authority.get()) != 1) {
      return fail(ENOMEM, "authority");
    }
  }
  authorities_ += added->size();
  marking.done();
  return {};
}

Status Trust::add_intermediates(std::string_view pem) {
  Result<std::vector<Certificate>> added = parse_certificates(pem, kMost - intermediates_.size());
  if (!added) {
    return std::unexpected(added.error());
  }
  Marking marking(*this, "intermediates", std::as_bytes(std::span(pem)));
  std::ranges::move(*added, std::back_inserter(intermediates_));
  marking.done();
  return {};
}

Status Trust::add_revocations(std::string_view pem) {
  if (pem.size() > kLongestPem) {
    return fail(EFBIG, "the list of revoked certificates is too long");
  }
  const ErrorMark mark;
  const BioPtr text = text_bio(pem);
  std::vector<CrlPtr> added;
  while (CrlPtr next{PEM_read_bio_X509_CRL(text.get(), nullptr, nullptr, nullptr)}) {
    added.push_back(std::move(next));
    if (revocations_ + added.size() > kMost) {
      return fail(EFBIG, "there are too many lists of revoked certificates");
    }
  }
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
    return fail(EBADMSG, "a list of revoked certificates is malformed or cut short");
  }
  if (added.empty()) {
    return fail(ENOKEY, "there is no list of revoked certificates in it");
  }
  Marking marking(*this, "revocations", std::as_bytes(std::span(pem)));
  for (const CrlPtr& list : added) {
    if (X509_STORE_add_crl(store_.get(), list.get()) != 1) {
      return fail(ENOMEM, "list of revoked certificates");
    }
  }
  revocations_ += added.size();
  marking.done();
  return {};
}

Status Trust::add(const Trust& other, Share share) {
  Marking marking(*this, share == Share::all ? "all" : "no authorities", other.mark_);
  const ErrorMark mark;
  const STACK_OF(X509_OBJECT)* const objects = X509_STORE_get0_objects(other.store_.get());
  for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
    X509_OBJECT* const object = sk_X509_OBJECT_value(objects, i);
    X509* const authority = X509_OBJECT_get0_X509(object);  // null: it is a list
    if (authority != nullptr && share == Share::no_authorities) {
      continue;
    }
    const int added = authority != nullptr
                          ? X509_STORE_add_cert(store_.get(), authority)
                          : X509_STORE_add_crl(store_.get(), X509_OBJECT_get0_X509_CRL(object));
    if (added != 1) {
      return fail(ENOMEM, "trust");
    }
  }
  authorities_ += share == Share::all ? other.authorities_ : 0;
  revocations_ += other.revocations_;
  for (const Certificate& intermediate : other.intermediates_) {
    intermediates_.push_back(intermediate.share());
  }
  if (!other.mark_.empty()) {
    marking.done();
  }
  return {};
}

Verdict verify_chain(std::span<const Certificate> chain, const Trust& trust, std::string_view name,
                     Purpose purpose, std::time_t at, Period* lasts) {
  if (chain.empty()) {
    return Verdict::no_certificate;
  }
  if (chain.size() > kLongestChain) {
    return Verdict::too_deep;
  }
  const Certificate& leaf = chain.front();
  const ErrorMark mark;
  const StoreCtxPtr context(X509_STORE_CTX_new());
  const StackPtr others(sk_X509_new_null());
  if (context == nullptr || others == nullptr || !push_all(others.get(), chain.subspan(1)) ||
      !push_all(others.get(), trust.intermediates_) ||
      X509_STORE_CTX_init(context.get(), trust.store_.get(), leaf.get(), others.get()) != 1) {
    return Verdict::refused;
  }
  const Verdict verdict = run(context.get(), trust.revocations_ > 0, purpose, at);
  if (verdict != Verdict::ok) {
    return verdict;
  }
  if (!leaf.has_accepted_key()) {
    return Verdict::weak_key;
  }
  if (lasts != nullptr) {
    *lasts = lasting(context.get(), trust.store_.get());
  }
  return serves(leaf, purpose) ? check_name(leaf, name) : Verdict::wrong_purpose;
}

}  // namespace flowfs::auth
