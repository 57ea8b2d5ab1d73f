// SPDX-License-Identifier: BSD-3-Clause
#include "auth/header.hpp"

#include <algorithm>
#include <iterator>
#include <optional>

#include "auth/byte_reader.hpp"
#include "auth/byte_writer.hpp"

namespace flowfs::auth {
namespace {

constexpr std::array kMagic{std::byte{'O'}, std::byte{'A'}, std::byte{'P'}};
constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kRequirePq = 1;  // of the flags, whose other bits are 0

template <typename Code>
void append_codes(Bytes& to, const std::vector<Code>& list) {
  append_number(to, list.size(), 1);
  for (const Code code : list) {
    append_number(to, static_cast<std::uint8_t>(code), 1);
  }
}

// Each once, none of them 0.
template <typename Code>
bool read_codes(ByteReader& in, std::vector<Code>& list) {
  list.clear();
  const auto count = in.number(1);
  if (count > kMostAlgorithms) {
    return false;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const auto code = static_cast<Code>(in.number(1));
    if (code == Code::none || std::ranges::find(list, code) != list.end()) {
      return false;
    }
    list.push_back(code);
  }
  return in.good();
}

bool read_offer(ByteReader& in, Policy& offer) {
  const auto encrypt = in.number(1);
  const auto authenticate = in.number(1);
  const auto flags = in.number(1);
  if (encrypt > static_cast<unsigned>(Encrypt::require) ||
      authenticate > static_cast<unsigned>(Authenticate::mutual) || flags > kRequirePq) {
    return false;
  }
  offer.encrypt = static_cast<Encrypt>(encrypt);
  offer.authenticate = static_cast<Authenticate>(authenticate);
  offer.require_pq = flags == kRequirePq;
  if (!read_codes(in, offer.key_exchanges) || !read_codes(in, offer.ciphers) ||
      !read_codes(in, offer.kdfs) || !read_codes(in, offer.digests)) {
    return false;
  }
  // Algorithms are offered exactly where something may be encrypted with them.
  const bool some = offer.encrypt != Encrypt::off;
  return offer.key_exchanges.empty() != some && offer.ciphers.empty() != some &&
         offer.kdfs.empty() != some && offer.digests.empty() != some &&
         (!offer.require_pq || offer.encrypt == Encrypt::require);
}

void append_offer(Bytes& to, const Policy& offer) {
  append_number(to, static_cast<std::uint8_t>(offer.encrypt), 1);
  append_number(to, static_cast<std::uint8_t>(offer.authenticate), 1);
  append_number(to, offer.require_pq ? kRequirePq : 0, 1);
  append_codes(to, offer.key_exchanges);
  append_codes(to, offer.ciphers);
  append_codes(to, offer.kdfs);
  append_codes(to, offer.digests);
}

// A choice is of what is known here: one side has chosen it from what the other offered.
bool read_choice(ByteReader& in, Choice& choice) {
  choice.key_exchange = static_cast<KeyExchange>(in.number(1));
  choice.cipher = static_cast<Cipher>(in.number(1));
  choice.kdf = static_cast<Kdf>(in.number(1));
  choice.digest = static_cast<Digest>(in.number(1));
  if (!choice.encrypted()) {
    return in.good() && choice == Choice{};
  }
  return in.good() && find(choice.key_exchange) != nullptr && find(choice.cipher) != nullptr &&
         find(choice.kdf) != nullptr && find(choice.digest) != nullptr;
}

bool read_request_shares(ByteReader& in, Header& header) {
  for (const KeyExchange code : header.offer.key_exchanges) {
    const View share = in.counted(2, kMostShare);
    const KeyExchangeInfo* const known = find(code);
    if (share.empty() || (known != nullptr && share.size() != known->offer_bytes)) {
      return false;
    }
    header.shares.emplace_back(share.begin(), share.end());
  }
  return in.good();
}

bool read_answer(ByteReader& in, Header& header) {
  if (!read_choice(in, header.choice)) {
    return false;
  }
  const View hash = in.bytes(find(header.choice.digest)->bytes);
  header.request_hash.assign(hash.begin(), hash.end());
  if (header.choice.encrypted()) {
    const View share = in.counted(2, kMostShare);
    if (share.size() != find(header.choice.key_exchange)->answer_bytes) {
      return false;
    }
    header.shares.emplace_back(share.begin(), share.end());
  }
  return in.good();
}

bool read_certificates(ByteReader& in, Header& header) {
  const auto count = in.number(1);
  if (count > kMostCertificates) {
    return false;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const View certificate = in.counted(2, kMostCertificate);
    if (certificate.empty()) {
      return false;
    }
    header.certificates.emplace_back(certificate.begin(), certificate.end());
  }
  return in.good();
}

bool read_name(ByteReader& in, std::string& name) {
  const View text = in.counted(1, kMostName);
  std::ranges::transform(text, std::back_inserter(name),
                         [](std::byte one) { return static_cast<char>(one); });
  return !name.empty();
}

// From behind the version on.
std::optional<Parsed> read_rest(ByteReader& in, View encoded) {
  Parsed parsed;
  Header& header = parsed.header;
  const auto kind = in.number(1);
  if (kind != static_cast<unsigned>(Header::Kind::request) &&
      kind != static_cast<unsigned>(Header::Kind::response)) {
    return std::nullopt;
  }
  header.kind = static_cast<Header::Kind>(kind);
  std::ranges::copy(in.bytes(header.id.size()), header.id.begin());
  header.timestamp_ns = in.number(8);
  if (!read_name(in, header.name) || !read_offer(in, header.offer) ||
      !(header.kind == Header::Kind::request ? read_request_shares(in, header)
                                             : read_answer(in, header)) ||
      !read_certificates(in, header)) {
    return std::nullopt;
  }
  const View data = in.counted(2, kMostData);
  header.data.assign(data.begin(), data.end());
  parsed.signed_part = encoded.first(encoded.size() - in.left());
  const View signature = in.counted(2, kMostSignature);
  header.signature.assign(signature.begin(), signature.end());
  if (!in.good() || in.left() > 0 || header.signature.empty() != header.certificates.empty()) {
    return std::nullopt;
  }
  return parsed;
}

}  // namespace

Bytes encode_unsigned(const Header& header) {
  Bytes encoded;
  append(encoded, kMagic);
  append_number(encoded, kVersion, 1);
  append_number(encoded, static_cast<std::uint8_t>(header.kind), 1);
  append(encoded, header.id);
  append_number(encoded, header.timestamp_ns, 8);
  append_counted(encoded, std::as_bytes(std::span(header.name)), 1);
  append_offer(encoded, header.offer);
  if (header.kind == Header::Kind::response) {
    append_number(encoded, static_cast<std::uint8_t>(header.choice.key_exchange), 1);
    append_number(encoded, static_cast<std::uint8_t>(header.choice.cipher), 1);
    append_number(encoded, static_cast<std::uint8_t>(header.choice.kdf), 1);
    append_number(encoded, static_cast<std::uint8_t>(header.choice.digest), 1);
    append(encoded, header.request_hash);
  }
  for (const Bytes& share : header.shares) {
    append_counted(encoded, share, 2);
  }
  append_number(encoded, header.certificates.size(), 1);
  for (const Bytes& certificate : header.certificates) {
    append_counted(encoded, certificate, 2);
  }
  append_counted(encoded, header.data, 2);
  return encoded;
}

void append_signature(Bytes& encoded, View signature) { append_counted(encoded, signature, 2); }

Bytes encode(const Header& header) {
  Bytes encoded = encode_unsigned(header);
  append_signature(encoded, header.signature);
  return encoded;
}

std::expected<Parsed, Refusal> decode(View encoded) {
  if (encoded.size() > kMostHeader) {
    return std::unexpected(Refusal::malformed);
  }
  ByteReader in(encoded);
  if (!std::ranges::equal(in.bytes(kMagic.size()), kMagic)) {
    return std::unexpected(Refusal::malformed);
  }
  if (const auto version = in.number(1); !in.good() || version != kVersion) {
    return std::unexpected(in.good() ? Refusal::unknown_version : Refusal::malformed);
  }
  auto parsed = read_rest(in, encoded);
  if (!parsed) {
    return std::unexpected(Refusal::malformed);
  }
  return std::move(*parsed);
}

Bytes to_be_signed(Header::Kind kind, View signed_part) {
  const std::string_view purpose =
      kind == Header::Kind::request ? "flowfs OAP 1 request" : "flowfs OAP 1 response";
  Bytes message;
  append(message, std::as_bytes(std::span(purpose)));
  message.push_back(std::byte{0});
  append(message, signed_part);
  return message;
}

}  // namespace flowfs::auth
