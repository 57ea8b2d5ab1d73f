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
    RefusalInfo{Refusal::bad_certificate, EKEYREJECTED, "the certificate is refused"},
    RefusalInfo{Refusal::wrong_destination, EKEYREJECTED, "the header is for another name"},
    RefusalInfo{Refusal::bad_signature, EKEYREJECTED, "the signature does not fit"},
    RefusalInfo{Refusal::wrong_request, EKEYREJECTED, "the answer is to another request"},
    RefusalInfo{Refusal::bad_key_share, EKEYREJECTED, "the key share is not valid"},
    RefusalInfo{Refusal::other_server_key, EKEYREJECTED,
                "the key share is for a key that the server does not have (any more)"},
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

int Refused::error() const {
  return reason == Refusal::bad_certificate ? info(chain).error : to_errno(reason);
}

std::string_view Refused::words() const {
  return reason == Refusal::bad_certificate ? info(chain).words : to_string(reason);
}

}  // namespace flowfs::auth
