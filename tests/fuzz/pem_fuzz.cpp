// SPDX-License-Identifier: BSD-3-Clause
// Any text as a file of a security folder: refused with a reason, or certificates that read back as
// themselves and are never believed by whom nobody trusts.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "auth/certificates.hpp"
#include "auth/credentials.hpp"
#include "auth/kem_key.hpp"

namespace {

using flowfs::Failure;
using flowfs::auth::Certificate;
using flowfs::auth::Credential;
using flowfs::auth::KemKey;
using flowfs::auth::PrivateKey;
using flowfs::auth::Purpose;
using flowfs::auth::Trust;
using flowfs::auth::Verdict;

constexpr std::time_t kNow = 1'800'000'000;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

void require_reason(const Failure& failure) {
  require(failure.error != 0 && !std::string_view(failure.context).empty());
}

void check_certificate(const Certificate& certificate) {
  const auto der = certificate.der();
  const auto again = Certificate::from_der(der);
  require(again.has_value() && std::ranges::equal(again->der(), der));
  require(std::ranges::all_of(certificate.subject(), [](char character) {
    return static_cast<unsigned char>(character) >= ' ';
  }));
  static_cast<void>(certificate.alternative_names());
  static_cast<void>(certificate.valid_until());
  require(!certificate.verify_signature(der, {}));
}

void check_trust(std::string_view text) {
  Trust trust;
  if (const auto added = trust.add_intermediates(text); !added) {
    require_reason(added.error());
  }
  if (const auto added = trust.add_revocations(text); !added) {
    require_reason(added.error());
  }
  const auto chain = flowfs::auth::parse_certificates(text);
  if (!chain) {
    require_reason(chain.error());
    return;
  }
  std::ranges::for_each(*chain, check_certificate);
  require(verify_chain(*chain, trust, "log", Purpose::server, kNow) != Verdict::ok);
  if (const auto added = trust.add_authorities(text); !added) {
    require_reason(added.error());
  }
  static_cast<void>(verify_chain(*chain, trust, "log", Purpose::client, kNow));
}

void check_server_key(const flowfs::Result<KemKey>& key) {
  if (key) {
    require(key->id().size() == KemKey::kIdBytes);
  } else {
    require_reason(key.error());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto key = PrivateKey::parse(text); !key) {
    require_reason(key.error());
  }
  check_server_key(KemKey::parse_private(text));
  check_server_key(KemKey::parse_public(text));
  if (const auto credential = Credential::parse(text, text); !credential) {
    require_reason(credential.error());
  }
  check_trust(text);
  return 0;
}
