// SPDX-License-Identifier: BSD-3-Clause
// The two sides of a handshake: request, response, and then both have the keys of a flow and know
// whom they talk to. Bytes in, bytes out; who carries them does not matter.
//
// Shape: docs/oap.md. The request is signed by the client, the response, which carries the hash of
// the request, by the server; so the server's signature covers the whole transcript, and the keys
// come from a secret that was never sent and from the hash of all that was.
// Threads: an Initiator and what it is given: one at a time; a Responder: one at a time.
// Errors: Refused. Nothing is learnt from a refused header: the right one may still come.
// Invariants:
//   1. The checks of a request come in the order of what they cost (threats.md R11).
//   2. A request is answered once, and never one from before the daemon's start.
//   3. A peer is called authenticated only when its chain and its signature have been checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <expected>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "auth/credentials.hpp"
#include "auth/header.hpp"
#include "auth/kem_key.hpp"
#include "auth/key_exchange.hpp"
#include "auth/known_chains.hpp"
#include "auth/policy.hpp"
#include "auth/rate_limit.hpp"
#include "auth/refusal.hpp"
#include "auth/replay_cache.hpp"
#include "base/clock.hpp"

namespace flowfs::auth {

// What one side brings along. What is pointed at outlives the handshake.
struct Party {
  std::string name = {};  // that is dialled
  Policy policy = {};
  const Credential* credential = nullptr;  // null: it has none
  const Trust* trust = nullptr;            // null: it cannot check anybody
  const KemKey* server_key = nullptr;      // the server's own; at the client what it knows of it
  Bytes data = {};                         // of the application, for the other side
  KnownChains* known = nullptr;            // null: every chain is checked anew
};

struct Time {
  std::uint64_t header_ns = 0;  // since the epoch: what headers carry
  std::time_t calendar = 0;     // what certificates are checked by
  Instant steady{};
};

struct Session {
  Choice choice = {};
  Secret sending = {};    // what the keys of this direction come from; empty where not encrypted
  Secret receiving = {};  // of the other
  bool authenticated = false;
  std::string subject = {};  // of the peer's certificate, for people; empty where not authenticated
  Bytes data = {};           // that the peer's application sent along
};

// Fills the bytes with what nobody can guess; false where it cannot.
using Random = std::function<bool(std::span<std::byte>)>;
bool system_random(std::span<std::byte> bytes);

class Initiator {
 public:
  static std::expected<Initiator, Refused> start(Party party, const Time& time,
                                                 const Random& random = system_random);

  [[nodiscard]] View request() const { return request_; }
  [[nodiscard]] std::expected<Session, Refused> finish(View response, const Time& time) const;

 private:
  explicit Initiator(Party party) : party_(std::move(party)) {}
  [[nodiscard]] std::expected<Choice, Refused> check_choice(const Header& response) const;
  [[nodiscard]] std::expected<Secret, Refused> finish_exchange(const Header& response) const;

  Party party_;
  Policy offer_;
  HeaderId id_{};
  std::vector<EphemeralKey> keys_;  // one for each key exchange of the offer
  Bytes request_;
};

struct Response {
  Bytes bytes;
  Session session;
};

class Responder {
 public:
  struct Limits {
    std::uint64_t window_ns = 30'000'000'000;  // how far a header's time may be from ours
    std::size_t most_remembered = 16'384;      // requests, to know a replay by
    double rate = 100;                         // requests a second of one source, at least 1
  };

  // `started`: the time at which the daemon started; requests from before it are refused.
  Responder(const Limits& limits, const Time& started)
      : limits_(limits),
        started_ns_(started.header_ns),
        replays_(limits.most_remembered),
        rate_(limits.rate) {}

  std::expected<Response, Refused> answer(View request, const Party& party, std::uint64_t source,
                                          const Time& time);

 private:
  [[nodiscard]] std::expected<void, Refused> check_time(const Header& request, std::uint64_t source,
                                                        const Time& time);

  Limits limits_;
  std::uint64_t started_ns_;
  ReplayCache replays_;
  RateLimit rate_;
};

}  // namespace flowfs::auth
