// SPDX-License-Identifier: BSD-3-Clause
#include "auth/transcript.hpp"

#include <optional>
#include <string_view>
#include <utility>

#include "auth/hkdf.hpp"

namespace flowfs::auth {
namespace {

constexpr std::size_t kDirectionBytes = 32;
constexpr std::string_view kToServer = "flowfs OAP 1 to server";
constexpr std::string_view kToClient = "flowfs OAP 1 to client";

// The leaf of a chain that is to be believed.
std::expected<Certificate, Refused> check_chain(const Header& header, const Party& party,
                                                Purpose purpose, std::time_t at) {
  if (header.certificates.empty()) {
    return std::unexpected(Refusal::no_certificate);
  }
  if (party.trust == nullptr || party.trust->authorities() == 0) {
    return std::unexpected(Refusal::no_trust);
  }
  KnownChains nothing;
  KnownChains& known = party.known != nullptr ? *party.known : nothing;
  auto leaf = known.check(header.certificates, *party.trust, party.name, purpose, at);
  if (!leaf) {
    return std::unexpected(Refused(leaf.error()));
  }
  return std::move(*leaf);
}

// Never empty, as nobody's is: a certificate may have no subject, or one that cannot be shown.
std::string called(const Certificate& leaf, const std::string& name) {
  std::string subject = leaf.subject();
  return subject.empty() ? "flowfs:" + name : subject;
}

}  // namespace

std::expected<Bytes, Refused> encode_signed(Header header, const Credential* credential) {
  if (credential != nullptr) {
    for (const Certificate& certificate : credential->chain()) {
      header.certificates.push_back(certificate.der());
    }
  }
  Bytes encoded = encode_unsigned(header);
  Bytes signature;
  if (credential != nullptr) {
    auto made = credential->sign(to_be_signed(header.kind, encoded));
    if (!made) {
      return std::unexpected(Refusal::unable);
    }
    signature = std::move(*made);
  }
  append_signature(encoded, signature);
  if (const auto parsed = decode(encoded); !parsed) {
    return std::unexpected(parsed.error());
  }
  return encoded;
}

std::expected<Peer, Refused> check_peer(const Parsed& parsed, const Party& party, Purpose purpose,
                                        bool wanted, std::time_t at) {
  const Header& header = parsed.header;
  std::optional<Certificate> leaf;
  if (wanted) {
    auto checked = check_chain(header, party, purpose, at);
    if (!checked) {
      return std::unexpected(checked.error());
    }
    leaf = std::move(*checked);
  }
  if (header.name != party.name) {
    return std::unexpected(Refusal::wrong_destination);
  }
  if (!leaf) {
    return Peer{};
  }
  if (!leaf->verify_signature(to_be_signed(header.kind, parsed.signed_part), header.signature)) {
    return std::unexpected(Refusal::bad_signature);
  }
  return Peer{.authenticated = true, .subject = called(*leaf, party.name)};
}

std::expected<Session, Refused> make_session(const Transcript& transcript, Peer peer,
                                             const Header& theirs) {
  Session session{.choice = transcript.choice,
                  .authenticated = peer.authenticated,
                  .subject = std::move(peer.subject),
                  .data = theirs.data};
  if (!transcript.choice.encrypted()) {
    return session;
  }
  const Digest digest = transcript.choice.digest;
  const auto salt = hash(digest, {transcript.request, transcript.response});
  if (!salt) {
    return std::unexpected(Refusal::unable);
  }
  auto to_server = hkdf(digest, transcript.secret, *salt, kToServer, kDirectionBytes);
  auto to_client = hkdf(digest, transcript.secret, *salt, kToClient, kDirectionBytes);
  if (!to_server || !to_client) {
    return std::unexpected(Refusal::unable);
  }
  const bool client = transcript.side == Purpose::client;
  session.sending = std::move(client ? *to_server : *to_client);
  session.receiving = std::move(client ? *to_client : *to_server);
  return session;
}

}  // namespace flowfs::auth
