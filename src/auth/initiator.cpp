// SPDX-License-Identifier: BSD-3-Clause
#include <openssl/rand.h>

#include <algorithm>
#include <climits>

#include "auth/handshake.hpp"
#include "auth/hkdf.hpp"
#include "auth/transcript.hpp"

namespace flowfs::auth {
namespace {

// How far the time of a response may be from ours: it was made just now.
constexpr std::uint64_t kResponseWindowNs = 30'000'000'000;

}  // namespace

bool system_random(std::span<std::byte> bytes) {
  return bytes.size() <= INT_MAX && RAND_bytes(raw_out(bytes), static_cast<int>(bytes.size())) == 1;
}

std::expected<Initiator, Refused> Initiator::start(Party party, const Time& time,
                                                   const Random& random) {
  Initiator made(std::move(party));
  const Party& mine = made.party_;
  auto offer = offer_of(mine.policy, mine.server_key != nullptr);
  if (!offer) {
    return std::unexpected(offer.error());
  }
  if (covers(offer->authenticate, Authenticate::client) && mine.credential == nullptr) {
    return std::unexpected(Refusal::no_credential);
  }
  made.offer_ = std::move(*offer);
  Header header{.kind = Header::Kind::request,
                .timestamp_ns = time.header_ns,
                .name = mine.name,
                .offer = made.offer_,
                .data = mine.data};
  if (!random(header.id)) {
    return std::unexpected(Refusal::unable);
  }
  made.id_ = header.id;
  for (const KeyExchange kind : made.offer_.key_exchanges) {
    auto key = EphemeralKey::generate(kind, mine.server_key);
    if (!key) {
      return std::unexpected(Refusal::unable);
    }
    header.shares.push_back(key->offer());
    made.keys_.push_back(std::move(*key));
  }
  auto encoded = encode_signed(std::move(header), mine.credential);
  if (!encoded) {
    return std::unexpected(encoded.error());
  }
  made.request_ = std::move(*encoded);
  return made;
}

// The server's choice is the one that this side comes to as well.
std::expected<Choice, Refused> Initiator::check_choice(const Header& response) const {
  const auto choice = negotiate(offer_, response.offer);
  if (!choice) {
    return std::unexpected(choice.error());
  }
  if (*choice != response.choice) {
    return std::unexpected(Refusal::wrong_choice);
  }
  return *choice;
}

std::expected<Secret, Refused> Initiator::finish_exchange(const Header& response) const {
  const auto key = std::ranges::find(keys_, response.choice.key_exchange,
                                     [](const auto& one) { return one.kind(); });
  auto secret = key->finish(response.shares.front());
  if (!secret) {
    return std::unexpected(Refusal::bad_key_share);
  }
  return std::move(*secret);
}

std::expected<Session, Refused> Initiator::finish(View response, const Time& time) const {
  const auto parsed = decode(response);
  if (!parsed) {
    return std::unexpected(parsed.error());
  }
  const Header& header = parsed->header;
  if (header.kind != Header::Kind::response) {
    return std::unexpected(Refusal::wrong_kind);
  }
  const auto choice = check_choice(header);
  if (!choice) {
    return std::unexpected(choice.error());
  }
  if (apart(header.timestamp_ns, time.header_ns) > kResponseWindowNs) {
    return std::unexpected(Refusal::outside_window);
  }
  const auto asked = hash(choice->digest, {request_});
  if (header.id != id_ || !asked || *asked != header.request_hash) {
    return std::unexpected(Refusal::wrong_request);
  }
  const bool wanted = covers(wanted_by_both(offer_, header.offer), Authenticate::server);
  auto peer = check_peer(*parsed, party_, Purpose::server, wanted, time.calendar);
  if (!peer) {
    return std::unexpected(peer.error());
  }
  Secret secret;
  if (choice->encrypted()) {
    auto exchanged = finish_exchange(header);
    if (!exchanged) {
      return std::unexpected(exchanged.error());
    }
    secret = std::move(*exchanged);
  }
  return make_session({.side = Purpose::client,
                       .choice = *choice,
                       .secret = secret.bytes(),
                       .request = request_,
                       .response = response},
                      std::move(*peer), header);
}

}  // namespace flowfs::auth
