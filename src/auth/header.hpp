// SPDX-License-Identifier: BSD-3-Clause
// The allocation header (OAP): what the two ends of a flow tell each other while it is made.
//
// Shape: docs/oap.md. There is one encoding of a header and no other: what decodes, encodes to the
// same bytes.
// Threads: any, as there is no state.
// Errors: malformed: not a header, or one beyond the bounds below; unknown_version.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "auth/bytes.hpp"
#include "auth/policy.hpp"
#include "auth/refusal.hpp"

namespace flowfs::auth {

inline constexpr std::size_t kMostHeader = 32'768;
inline constexpr std::size_t kMostName = 255;
inline constexpr std::size_t kMostAlgorithms = 16;  // of a kind
inline constexpr std::size_t kMostShare = 4'096;
inline constexpr std::size_t kMostCertificates = 8;
inline constexpr std::size_t kMostCertificate = 8'192;
inline constexpr std::size_t kMostData = 1'024;
inline constexpr std::size_t kMostSignature = 1'024;

using HeaderId = std::array<std::byte, 16>;

struct Header {
  enum class Kind : std::uint8_t { request = 1, response = 2 };

  Kind kind = Kind::request;
  HeaderId id{};
  std::uint64_t timestamp_ns = 0;  // since the epoch, realtime
  std::string name = {};           // that was dialled
  Policy offer = {};               // the sender's
  Choice choice = {};              // response only
  Bytes request_hash = {};         // response only, by the chosen digest
  // Request: one for each key exchange of the offer, in its order. Response: one, if encrypted.
  std::vector<Bytes> shares = {};
  std::vector<Bytes> certificates = {};  // DER, the sender's own first
  Bytes data = {};                       // of the application
  Bytes signature = {};                  // there exactly if certificates are

  bool operator==(const Header&) const = default;
};

struct Parsed {
  Header header;
  View signed_part;  // of what was parsed: all but the signature and its length
};

// All but the signature: what the signature is made of.
Bytes encode_unsigned(const Header& header);
// Adds the signature.
void append_signature(Bytes& encoded, View signature);
// The whole.
Bytes encode(const Header& header);

std::expected<Parsed, Refusal> decode(View encoded);

// What is signed: the part, behind words that keep the signature from meaning anything elsewhere.
Bytes to_be_signed(Header::Kind kind, View signed_part);

}  // namespace flowfs::auth
