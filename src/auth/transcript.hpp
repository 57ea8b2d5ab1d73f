// SPDX-License-Identifier: BSD-3-Clause
// What the two sides of a handshake do alike: signing a header, checking the other's, and deriving
// the keys from all that was said.
//
// Threads: any, as there is no state.
#pragma once

#include <cstdint>
#include <ctime>
#include <expected>
#include <string>

#include "auth/handshake.hpp"

namespace flowfs::auth {

constexpr std::uint64_t apart(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : b - a; }

// The header with the credential's certificates and signature, if there is one. What would be
// refused as malformed elsewhere is not sent.
std::expected<Bytes, Refused> encode_signed(Header header, const Credential* credential);

struct Peer {
  bool authenticated = false;
  std::string subject;
};

// The header's certificates, name and signature, in this order. A certificate that nobody asked for
// is not looked at: its owner stays unauthenticated.
std::expected<Peer, Refused> check_peer(const Parsed& parsed, const Party& party, Purpose purpose,
                                        bool wanted, std::time_t at);

struct Transcript {
  Purpose side;  // that wants its keys
  Choice choice;
  View secret;
  View request;
  View response;
};

// `theirs` is the peer's header.
std::expected<Session, Refused> make_session(const Transcript& transcript, Peer peer,
                                             const Header& theirs);

}  // namespace flowfs::auth
