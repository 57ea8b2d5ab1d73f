// SPDX-License-Identifier: BSD-3-Clause
#include "auth/refusal.hpp"

#include <array>
#include <cerrno>
#include <cstddef>

namespace flowfs::auth {
namespace {

// In the order of the values.
constexpr std::array kRefusals{
    RefusalInfo{Refusal::malformed, EKEYREJECTED, "the header is malformed"},
    RefusalInfo{Refusal::unknown_version, EKEYREJECTED, "the header has an unknown version"},
    RefusalInfo{Refusal::wrong_kind, EKEYREJECTED, "the header goes the other way"},
    RefusalInfo{Refusal::encryption_required, ENOKEY,
                "one side requires encryption, the other does not allow it"},
    RefusalInfo{Refusal::no_common_key_exchange, ENOKEY, "no key exchange that both sides allow"},
    RefusalInfo{Refusal::no_common_cipher, ENOKEY, "no cipher that both sides allow"},
    RefusalInfo{Refusal::no_common_kdf, ENOKEY, "no key derivation that both sides allow"},
    RefusalInfo{Refusal::no_common_digest, ENOKEY, "no digest that both sides allow"},
    RefusalInfo{Refusal::no_post_quantum, ENOKEY,
                "a post-quantum key exchange is required and not to be had"},
    RefusalInfo{Refusal::wrong_choice, EKEYREJECTED,
                "the server's choice of algorithms does not follow from the two offers"},
    RefusalInfo{Refusal::outside_window, EKEYREJECTED,
                "the header's time is too far from this machine's"},
    RefusalInfo{Refusal::before_start, EKEYREJECTED, "the header is older than this daemon"},
    RefusalInfo{Refusal::too_many, EKEYREJECTED, "too many requests from this source"},
    RefusalInfo{Refusal::replayed, EKEYREJECTED, "the header was used before"},
    RefusalInfo{Refusal::no_certificate, ENOKEY, "the other side shows no certificate"},
    RefusalInfo{Refusal::no_trust, ENOKEY, "no authority is configured to check a certificate by"},
    RefusalInfo{Refusal::malformed_certificate, EKEYREJECTED,
                "a certificate is malformed or truncated"},
    RefusalInfo{Refusal::untrusted, EKEYREJECTED, "the certificate is of an unknown authority"},
    RefusalInfo{Refusal::incomplete_chain, EKEYREJECTED,
                "a certificate between the leaf and the authority is missing"},
    RefusalInfo{Refusal::expired, EKEYEXPIRED, "the certificate has expired"},
    RefusalInfo{Refusal::not_yet_valid, EKEYREJECTED, "the certificate is not valid yet"},
    RefusalInfo{Refusal::revoked, EKEYREVOKED, "the certificate is revoked"},
    RefusalInfo{Refusal::no_revocation_list, EKEYREJECTED,
                "no valid revocation list of the certificate's issuer"},
    RefusalInfo{Refusal::wrong_name, EKEYREJECTED, "the certificate is for another name"},
    RefusalInfo{Refusal::only_common_name, EKEYREJECTED,
                "the certificate has the name only as common name"},
    RefusalInfo{Refusal::wrong_purpose, EKEYREJECTED, "the certificate is for another purpose"},
    RefusalInfo{Refusal::too_deep, EKEYREJECTED, "the chain of certificates is too long"},
    RefusalInfo{Refusal::weak_key, EKEYREJECTED, "the certificate's key is too weak"},
    RefusalInfo{Refusal::wrong_destination, EKEYREJECTED, "the header is for another name"},
    RefusalInfo{Refusal::bad_signature, EKEYREJECTED, "the signature does not fit"},
    RefusalInfo{Refusal::wrong_request, EKEYREJECTED, "the answer is to another request"},
    RefusalInfo{Refusal::bad_key_share, EKEYREJECTED, "the key share is not valid"},
    RefusalInfo{Refusal::no_credential, ENOKEY, "this side must show a certificate and has none"},
    RefusalInfo{Refusal::unable, ENOKEY, "the cryptography of this machine failed"},
};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kRefusals.size(); ++i) {
    if (kRefusals.at(i).reason != static_cast<Refusal>(i)) {
      return false;
    }
  }
  return kRefusals.back().reason == Refusal::unable;
}
static_assert(in_order());

}  // namespace

std::span<const RefusalInfo> all_refusals() { return kRefusals; }

const RefusalInfo& info(Refusal reason) { return kRefusals.at(static_cast<std::size_t>(reason)); }

}  // namespace flowfs::auth
