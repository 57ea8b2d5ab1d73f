// SPDX-License-Identifier: BSD-3-Clause
// What the tests of the handshake and of records share: bytes as hexadecimal text, a moment, and
// two parties with what the other is checked by.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "auth/guarded_folder.hpp"
#include "auth/handshake.hpp"
#include "openssl_command.hpp"

namespace flowfs::auth {

inline Bytes from_hex(std::string_view text) {
  Bytes bytes;
  std::string digits;
  for (const char c : text) {
    if (std::isxdigit(static_cast<unsigned char>(c)) != 0) {
      digits += c;
    }
  }
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

inline Bytes from_text(std::string_view text) {
  const View view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

inline Bytes copy(View view) { return {view.begin(), view.end()}; }

// `count` bytes that count up from `first`.
inline Bytes counting(unsigned first, std::size_t count) {
  Bytes bytes;
  for (std::size_t i = 0; i < count; ++i) {
    bytes.push_back(static_cast<std::byte>(first + i));
  }
  return bytes;
}

// A moment at which the certificates of the tests are valid, and `seconds` after it.
inline Time moment(std::int64_t seconds = 0) {
  static const std::time_t kNow = std::time(nullptr);
  const std::time_t now = kNow + 3600 + seconds;
  return {.header_ns = static_cast<std::uint64_t>(now) * 1'000'000'000,
          .calendar = now,
          .steady = Instant{} + std::chrono::seconds(1'000'000 + seconds)};
}

inline Refused refusal_of(const auto& result) {
  EXPECT_FALSE(result.has_value());
  return result ? Refused(Verdict::ok) : result.error();
}

// Fields of a request that a client which does not keep to the rules might send.
inline Bytes forged(View request, const auto& change) {
  auto parsed = decode(request);
  EXPECT_TRUE(parsed.has_value());
  change(parsed->header);
  return encode(parsed->header);
}

// The server's key that some key exchanges want, as each side has it; nothing where OpenSSL has no
// ML-KEM.
class ServerKey {
 public:
  ServerKey() {
    const auto pair = make_kem_pair();
    EXPECT_EQ(pair.has_value(), available(KeyExchange::ml_kem_768));
    if (!pair) {
      EXPECT_EQ(pair.error().error, EOPNOTSUPP);
      return;
    }
    private_pem = text_of(pair->private_half);
    public_pem = pair->public_half;
    own_ = std::make_unique<KemKey>(*KemKey::parse_private(private_pem));
    known_ = std::make_unique<KemKey>(*KemKey::parse_public(public_pem));
  }

  [[nodiscard]] const KemKey* own() const { return own_.get(); }
  [[nodiscard]] const KemKey* known() const { return known_.get(); }

  std::string private_pem;
  std::string public_pem;

 private:
  std::unique_ptr<KemKey> own_;
  std::unique_ptr<KemKey> known_;
};

inline Responder::Limits patient() { return {.rate = 1e9}; }

// Certificates by one authority for a server called log, a client, and whoever else a test asks
// for.
class People {
 public:
  People() {
    EXPECT_TRUE(files_.run(
        "authority ca\nauthority stranger\n"
        "key server.key ED25519\nkey client.key ED25519\nkey stray.key ED25519\n"
        "certificate server ca 'subjectAltName=URI:flowfs:log\\nextendedKeyUsage=serverAuth\\n'\n"
        "certificate client ca 'subjectAltName=URI:flowfs:log\\nextendedKeyUsage=clientAuth\\n'\n"
        "certificate stray ca 'subjectAltName=URI:flowfs:mail\\nextendedKeyUsage=serverAuth\\n'\n"
        "certificate plain ca 'subjectAltName=DNS:log\\nextendedKeyUsage=serverAuth\\n'\n"));
    EXPECT_TRUE(trust.add_authorities(files_.read("ca.pem")).has_value());
    EXPECT_TRUE(strangers.add_authorities(files_.read("stranger.pem")).has_value());
    server = load("server");
    client = load("client");
    stray = load("stray");
    curve = load("plain");
  }

  [[nodiscard]] const OpensslCommand& files() const { return files_; }

  Trust trust;
  Trust strangers;  // who believe another authority
  std::unique_ptr<Credential> server;
  std::unique_ptr<Credential> client;
  std::unique_ptr<Credential> stray;  // a server's, for another name
  std::unique_ptr<Credential> curve;  // a server's, with a key on P-256

 private:
  [[nodiscard]] std::unique_ptr<Credential> load(const std::string& name) const {
    auto loaded = Credential::parse(files_.read(name + ".pem"), files_.read(name + ".key"));
    EXPECT_TRUE(loaded.has_value()) << name;
    return loaded ? std::make_unique<Credential>(std::move(*loaded)) : nullptr;
  }

  OpensslCommand files_;
};

// Both sides of a handshake for the name log, which may be changed before it runs.
class Handshake : public testing::Test {
 protected:
  static void SetUpTestSuite() { people_ = std::make_unique<People>(); }
  static void TearDownTestSuite() { people_.reset(); }

  static Policy policy(Authenticate authenticate, Encrypt encrypt) {
    Policy policy;
    policy.authenticate = authenticate;
    policy.encrypt = encrypt;
    policy.key_exchanges = {KeyExchange::x25519};
    return policy;
  }
  // With certificates that fit.
  static Party client(Authenticate authenticate = Authenticate::mutual,
                      Encrypt encrypt = Encrypt::require) {
    return {.name = "log",
            .policy = policy(authenticate, encrypt),
            .credential = people_->client.get(),
            .trust = &people_->trust,
            .data = from_text("hello")};
  }
  static Party server(Authenticate authenticate = Authenticate::mutual,
                      Encrypt encrypt = Encrypt::require) {
    Party party = client(authenticate, encrypt);
    party.credential = people_->server.get();
    party.data = from_text("welcome");
    return party;
  }
  // The client's request, which has to come about.
  static Initiator start(Party party, const Time& time = moment()) {
    auto made = Initiator::start(std::move(party), time);
    EXPECT_TRUE(made.has_value()) << made.error().words();
    return std::move(*made);
  }
  std::expected<Response, Refused> answer(View request, const Party& party,
                                          const Time& time = moment()) {
    return responder_.answer(request, party, 1'000, time);
  }

  static inline std::unique_ptr<People> people_;
  Responder responder_{patient(), moment(-3600)};
};

}  // namespace flowfs::auth
