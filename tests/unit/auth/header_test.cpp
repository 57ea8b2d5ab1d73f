// SPDX-License-Identifier: BSD-3-Clause
#include "auth/header.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>

#include "auth/hkdf.hpp"
#include "auth/record.hpp"
#include "auth_fixture.hpp"

namespace flowfs::auth {
namespace {

// The worked example of docs/oap.md.
Header example_request() {
  Header header;
  header.kind = Header::Kind::request;
  std::ranges::copy(counting(0, 16), header.id.begin());
  header.timestamp_ns = 1'700'000'000'000'000'000;
  header.name = "log";
  header.offer.authenticate = Authenticate::server;
  header.offer.encrypt = Encrypt::require;
  header.offer.key_exchanges = {KeyExchange::x25519};
  header.offer.ciphers = {Cipher::aes_256_gcm, Cipher::chacha20_poly1305};
  header.offer.digests = {Digest::sha256};
  header.shares = {counting(0x20, 32)};
  header.data = from_text("hi");
  return header;
}

Header example_response() {
  Header header = example_request();
  header.kind = Header::Kind::response;
  header.timestamp_ns += 1'000'000;
  header.offer.ciphers = {Cipher::chacha20_poly1305};
  header.choice = {KeyExchange::x25519, Cipher::chacha20_poly1305, Kdf::hkdf, Digest::sha256};
  header.request_hash = hash(Digest::sha256, {encode(example_request())}).value();
  header.shares = {counting(0x40, 32)};
  header.certificates = {from_text("certificate")};
  header.signature = from_text("signature");
  header.data.clear();
  return header;
}

// What stands between the lines `<!-- NAME -->` and "```" of docs/oap.md, less remarks behind #.
Bytes documented(const std::string& name) {
  std::ifstream file(FLOWFS_SOURCE_DIR "/docs/oap.md");
  std::string line;
  std::string text;
  while (std::getline(file, line) && line != "<!-- " + name + " -->") {
  }
  std::getline(file, line);
  EXPECT_EQ(line, "```text") << name;
  while (std::getline(file, line) && line != "```") {
    text += line.substr(0, line.find('#'));
  }
  return from_hex(text);
}

TEST(Header, is_encoded_as_it_is_written_down) {
  EXPECT_EQ(encode(example_request()), documented("request"));
  EXPECT_EQ(encode(example_response()), documented("response"));
}

TEST(Header, comes_back_as_it_was) {
  for (const Header& header : {example_request(), example_response()}) {
    const Bytes encoded = encode(header);
    const auto parsed = decode(encoded);
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->header, header);
    EXPECT_EQ(copy(parsed->signed_part), encode_unsigned(header));
  }
}

TEST(Header, that_says_nothing_is_a_header_too) {
  Header header = example_request();
  header.offer = {.key_exchanges = {}, .ciphers = {}, .kdfs = {}, .digests = {}};
  header.shares.clear();
  header.data.clear();
  EXPECT_EQ(decode(encode(header))->header, header);
}

TEST(Header, may_offer_what_is_not_known_here) {
  Header header = example_request();
  header.offer.key_exchanges.insert(header.offer.key_exchanges.begin(), KeyExchange{200});
  header.shares.insert(header.shares.begin(), counting(0, 7));
  header.offer.ciphers.push_back(Cipher{99});
  const auto parsed = decode(encode(header));
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->header, header);
}

TEST(Header, has_bounds) {
  using Change = std::function<void(Header&)>;
  const auto accepted = [](Header header, const Change& change) {
    change(header);
    return decode(encode(header)).has_value();
  };
  const Header request = example_request();
  const Header response = example_response();
  EXPECT_TRUE(accepted(request, [](Header& h) { h.name.assign(255, 'x'); }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.name.clear(); }));
  EXPECT_TRUE(accepted(request, [](Header& h) { h.data.resize(kMostData); }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.data.resize(kMostData + 1); }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.shares.front().resize(31); }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.shares.clear(); }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.offer.ciphers.clear(); }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.offer.digests.assign(2, Digest::sha256); }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.offer.kdfs = {Kdf::none}; }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.offer.encrypt = Encrypt::off; }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.offer.encrypt = Encrypt{3}; }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.offer.authenticate = Authenticate{4}; }));
  EXPECT_FALSE(accepted(request, [](Header& h) {
    h.offer.encrypt = Encrypt::allow;
    h.offer.require_pq = true;
  }));
  EXPECT_FALSE(accepted(request, [](Header& h) {
    h.offer.ciphers.clear();
    for (unsigned i = 0; i <= kMostAlgorithms; ++i) {
      h.offer.ciphers.push_back(Cipher{static_cast<std::uint8_t>(i + 1)});
    }
  }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.kind = Header::Kind{3}; }));
  EXPECT_FALSE(accepted(request, [](Header& h) { h.signature = counting(0, 64); }));
  EXPECT_FALSE(accepted(response, [](Header& h) { h.signature.clear(); }));
  EXPECT_FALSE(accepted(response, [](Header& h) { h.certificates.clear(); }));
  EXPECT_FALSE(accepted(response, [](Header& h) { h.certificates.emplace_back(); }));
  EXPECT_TRUE(accepted(response, [](Header& h) { h.certificates.front().resize(8'192); }));
  EXPECT_FALSE(accepted(response, [](Header& h) { h.certificates.front().resize(8'193); }));
  EXPECT_FALSE(accepted(
      response, [](Header& h) { h.certificates.assign(kMostCertificates + 1, counting(0, 10)); }));
  EXPECT_FALSE(accepted(response, [](Header& h) {
    h.certificates.assign(5, Bytes(kMostCertificate));  // each may be as long, all may not
  }));
  EXPECT_FALSE(accepted(response, [](Header& h) { h.signature.resize(kMostSignature + 1); }));
  EXPECT_FALSE(accepted(response, [](Header& h) { h.choice.cipher = Cipher{99}; }));
  EXPECT_FALSE(accepted(response, [](Header& h) { h.choice.cipher = Cipher::none; }));
  EXPECT_FALSE(accepted(response, [](Header& h) { h.request_hash.pop_back(); }));
  EXPECT_FALSE(accepted(response, [](Header& h) { h.shares.front().push_back({}); }));
}

// What decodes has no other encoding: whatever is flipped, either it is refused or it comes back as
// exactly these bytes.
TEST(Header, has_one_encoding) {
  std::mt19937 random(1);
  int decoded = 0;
  for (const Bytes& good : {encode(example_request()), encode(example_response())}) {
    for (int i = 0; i < 20'000; ++i) {
      Bytes bytes = good;
      for (auto flips = 1 + random() % 3; flips > 0; --flips) {
        bytes[random() % bytes.size()] ^= static_cast<std::byte>(1U << (random() % 8));
      }
      if (const auto parsed = decode(bytes)) {
        ++decoded;
        ASSERT_EQ(encode(parsed->header), bytes);
      }
    }
  }
  EXPECT_GT(decoded, 1'000);
}

TEST(Header, is_signed_for_one_direction) {
  const Bytes part = counting(0, 10);
  EXPECT_NE(to_be_signed(Header::Kind::request, part), to_be_signed(Header::Kind::response, part));
}

TEST(Record, is_made_as_it_is_written_down) {
  const Choice choice{KeyExchange::x25519, Cipher::chacha20_poly1305, Kdf::hkdf, Digest::sha256};
  Secret secret(32);
  std::ranges::copy(counting(0, 32), secret.writable().begin());
  auto sealer = RecordSealer::create(choice, std::move(secret), Instant{});
  ASSERT_TRUE(sealer.has_value());
  Bytes record(kRecordOverhead + 2);
  ASSERT_EQ(sealer->seal(from_text("hi"), record, Instant{}), RecordSealer::Outcome::ok);
  EXPECT_EQ(record, documented("record"));
}

}  // namespace
}  // namespace flowfs::auth
