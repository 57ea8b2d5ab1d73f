// SPDX-License-Identifier: BSD-3-Clause
// What a side wants of a flow, and what two sides make of it.
//
// Threads: any, as there is no state.
// Errors: a Refusal; nothing weaker than what either side requires ever comes out.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>
#include <vector>

#include "auth/algorithms.hpp"
#include "auth/refusal.hpp"

namespace flowfs::auth {

// Who must show a certificate: a bit for the server and one for the client.
enum class Authenticate : std::uint8_t { none = 0, server = 1, client = 2, mutual = 3 };

enum class Encrypt : std::uint8_t { off = 0, allow = 1, require = 2 };

std::string_view to_string(Authenticate what);
std::string_view to_string(Encrypt what);
std::optional<Authenticate> parse_authenticate(std::string_view text);
std::optional<Encrypt> parse_encrypt(std::string_view text);

constexpr bool covers(Authenticate what, Authenticate part) {
  return (static_cast<unsigned>(what) & static_cast<unsigned>(part)) != 0;
}

// Of a name at one side. Algorithms stand in the order of preference, each once.
struct Policy {
  Authenticate authenticate = Authenticate::none;
  Encrypt encrypt = Encrypt::off;
  bool require_pq = false;  // a key exchange that a quantum computer does not break, or no flow
  std::vector<KeyExchange> key_exchanges{KeyExchange::x25519_ml_kem_768, KeyExchange::x25519};
  std::vector<Cipher> ciphers{Cipher::aes_256_gcm, Cipher::chacha20_poly1305};
  std::vector<Kdf> kdfs{Kdf::hkdf};
  std::vector<Digest> digests{Digest::sha256, Digest::sha512};

  bool operator==(const Policy&) const = default;
};

// What is left of a policy with the OpenSSL at hand, as a header carries it: no algorithms where
// nothing is to be encrypted, and only key exchanges that may be used. `server_key`: whether this
// side has the key of the server's (its own, or at the client what it knows of it) that some want.
std::expected<Policy, Refusal> offer_of(const Policy& policy, bool server_key = false);

// All none but the digest where the flow is not encrypted.
struct Choice {
  KeyExchange key_exchange = KeyExchange::none;
  Cipher cipher = Cipher::none;
  Kdf kdf = Kdf::none;
  Digest digest = Digest::sha256;

  [[nodiscard]] bool encrypted() const { return cipher != Cipher::none; }
  bool operator==(const Choice&) const = default;
};

// Of each kind the first in the server's order that the client allows too. Both sides work it out,
// so that neither can be told another result.
std::expected<Choice, Refusal> negotiate(const Policy& client, const Policy& server);

// Who must show a certificate for both to be content.
constexpr Authenticate wanted_by_both(const Policy& client, const Policy& server) {
  return static_cast<Authenticate>(static_cast<unsigned>(client.authenticate) |
                                   static_cast<unsigned>(server.authenticate));
}

}  // namespace flowfs::auth
