// SPDX-License-Identifier: BSD-3-Clause
// Why a flow is refused: one value for each reason, in words for the log, and as the errno that
// the opener of dial gets.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "auth/certificates.hpp"

namespace flowfs::auth {

enum class Refusal : std::uint8_t {
  // The header.
  malformed,
  unknown_version,
  wrong_kind,
  // What the two sides want.
  encryption_required,
  no_common_key_exchange,
  no_common_cipher,
  no_common_kdf,
  no_common_digest,
  no_post_quantum,
  wrong_choice,
  // Time, rate, replay.
  outside_window,
  before_start,
  too_many,
  replayed,
  // The peer's certificates.
  no_certificate,
  no_trust,
  bad_certificate,
  // The transcript.
  wrong_destination,
  bad_signature,
  wrong_request,
  bad_key_share,
  other_server_key,
  // This side.
  no_credential,
  unable,
};

struct RefusalInfo {
  Refusal reason;
  int error;  // EKEYREJECTED, ENOKEY, EKEYEXPIRED or EKEYREVOKED
  std::string_view words;
};

std::span<const RefusalInfo> all_refusals();
const RefusalInfo& info(Refusal reason);
inline int to_errno(Refusal reason) { return info(reason).error; }
inline std::string_view to_string(Refusal reason) { return info(reason).words; }

// The same, and for bad_certificate what is wrong with it.
struct Refused {
  Refused(Refusal why) : reason(why) {}  // NOLINT(google-explicit-constructor): most have no more
  explicit Refused(Verdict verdict) : reason(Refusal::bad_certificate), chain(verdict) {}

  Refusal reason;
  Verdict chain = Verdict::ok;

  [[nodiscard]] int error() const;
  [[nodiscard]] std::string_view words() const;
  bool operator==(const Refused&) const = default;
};

}  // namespace flowfs::auth
