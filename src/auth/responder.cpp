// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>

#include "auth/handshake.hpp"
#include "auth/hkdf.hpp"
#include "auth/transcript.hpp"

namespace flowfs::auth {
namespace {

// The offers of both, as far as they can be brought together, and what follows from them.
struct Terms {
  Policy offer;  // the server's
  Choice choice;
  Authenticate wanted = Authenticate::none;
};

std::expected<Terms, Refused> agree_on(const Header& request, const Party& party) {
  auto offer = offer_of(party.policy, party.server_key != nullptr);
  if (!offer) {
    return std::unexpected(offer.error());
  }
  const auto choice = negotiate(request.offer, *offer);
  if (!choice) {
    return std::unexpected(choice.error());
  }
  const Authenticate wanted = wanted_by_both(request.offer, *offer);
  if (covers(wanted, Authenticate::server) && party.credential == nullptr) {
    return std::unexpected(Refusal::no_credential);
  }
  return Terms{.offer = std::move(*offer), .choice = *choice, .wanted = wanted};
}

// Our half of the key exchange, to the share that the request has for it.
std::expected<Answer, Refused> exchange(const Header& request, KeyExchange kind,
                                        const KemKey* server_key) {
  const auto& kinds = request.offer.key_exchanges;
  const auto at = std::ranges::find(kinds, kind) - kinds.begin();
  auto answer = answer_offer(kind, request.shares.at(static_cast<std::size_t>(at)), server_key);
  if (!answer) {
    return std::unexpected(answer.error().error == ENOKEY ? Refusal::other_server_key
                                                          : Refusal::bad_key_share);
  }
  return std::move(*answer);
}

std::expected<Response, Refused> respond(View request, const Header& asked, const Party& party,
                                         Terms terms, Peer peer, const Time& time) {
  Header header{.kind = Header::Kind::response,
                .id = asked.id,
                .timestamp_ns = time.header_ns,
                .name = party.name,
                .offer = std::move(terms.offer),
                .choice = terms.choice,
                .data = party.data};
  auto request_hash = hash(terms.choice.digest, {request});
  if (!request_hash) {
    return std::unexpected(Refusal::unable);
  }
  header.request_hash = std::move(*request_hash);
  Secret secret;
  if (terms.choice.encrypted()) {
    auto answer = exchange(asked, terms.choice.key_exchange, party.server_key);
    if (!answer) {
      return std::unexpected(answer.error());
    }
    header.shares.push_back(std::move(answer->share));
    secret = std::move(answer->secret);
  }
  const bool show = covers(terms.wanted, Authenticate::server);
  auto encoded = encode_signed(std::move(header), show ? party.credential : nullptr);
  if (!encoded) {
    return std::unexpected(encoded.error());
  }
  auto session = make_session({.side = Purpose::server,
                               .choice = terms.choice,
                               .secret = secret.bytes(),
                               .request = request,
                               .response = *encoded},
                              std::move(peer), asked);
  if (!session) {
    return std::unexpected(session.error());
  }
  return Response{.bytes = std::move(*encoded), .session = std::move(*session)};
}

}  // namespace

std::expected<void, Refused> Responder::check_time(const Header& request, std::uint64_t source,
                                                   const Time& time) {
  if (apart(request.timestamp_ns, time.header_ns) > limits_.window_ns) {
    return std::unexpected(Refusal::outside_window);
  }
  if (request.timestamp_ns < started_ns_) {
    return std::unexpected(Refusal::before_start);
  }
  if (!rate_.admit(source, time.steady)) {
    return std::unexpected(Refusal::too_many);
  }
  if (replays_.seen(request.timestamp_ns, request.id)) {
    return std::unexpected(Refusal::replayed);
  }
  return {};
}

std::expected<Response, Refused> Responder::answer(View request, const Party& party,
                                                   std::uint64_t source, const Time& time) {
  const auto parsed = decode(request);
  if (!parsed) {
    return std::unexpected(parsed.error());
  }
  const Header& asked = parsed->header;
  if (asked.kind != Header::Kind::request) {
    return std::unexpected(Refusal::wrong_kind);
  }
  auto terms = agree_on(asked, party);
  if (!terms) {
    return std::unexpected(terms.error());
  }
  if (const auto fresh = check_time(asked, source, time); !fresh) {
    return std::unexpected(fresh.error());
  }
  auto peer = check_peer(*parsed, party, Purpose::client,
                         covers(terms->wanted, Authenticate::client), time.calendar);
  if (!peer) {
    return std::unexpected(peer.error());
  }
  replays_.insert(asked.timestamp_ns, asked.id);
  return respond(request, asked, party, std::move(*terms), std::move(*peer), time);
}

}  // namespace flowfs::auth
