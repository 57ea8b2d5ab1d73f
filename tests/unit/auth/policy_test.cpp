// SPDX-License-Identifier: BSD-3-Clause
#include "auth/policy.hpp"

#include <gmock/gmock.h>

#include "auth/policy_file.hpp"

namespace flowfs::auth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Policy with(Encrypt encrypt) {
  Policy policy;
  policy.encrypt = encrypt;
  policy.key_exchanges = {KeyExchange::x25519};
  return policy;
}

TEST(Policy, brings_no_two_sides_together_on_less_than_either_requires) {
  for (const Encrypt client : {Encrypt::off, Encrypt::allow, Encrypt::require}) {
    for (const Encrypt server : {Encrypt::off, Encrypt::allow, Encrypt::require}) {
      const auto choice = negotiate(*offer_of(with(client)), *offer_of(with(server)));
      const bool refused = (client == Encrypt::off && server == Encrypt::require) ||
                           (client == Encrypt::require && server == Encrypt::off);
      ASSERT_EQ(choice.has_value(), !refused);
      if (choice) {
        EXPECT_EQ(choice->encrypted(), client != Encrypt::off && server != Encrypt::off);
      } else {
        EXPECT_EQ(choice.error(), Refusal::encryption_required);
      }
    }
  }
}

// As between machines that have ML-KEM: what is offered is not looked at for being available.
TEST(Policy, requires_a_post_quantum_exchange_if_either_side_does) {
  Policy wary = with(Encrypt::require);
  wary.require_pq = true;
  wary.key_exchanges = {KeyExchange::x25519, KeyExchange::x25519_ml_kem_768};
  Policy easy = with(Encrypt::allow);
  EXPECT_EQ(negotiate(easy, wary).error(), Refusal::no_post_quantum);
  EXPECT_EQ(negotiate(wary, easy).error(), Refusal::no_post_quantum);
  easy.key_exchanges = {KeyExchange::x25519, KeyExchange::ml_kem_768,
                        KeyExchange::x25519_ml_kem_768};
  EXPECT_EQ(negotiate(easy, wary)->key_exchange, KeyExchange::x25519_ml_kem_768);
  EXPECT_EQ(negotiate(wary, easy)->key_exchange, KeyExchange::x25519_ml_kem_768);
}

TEST(Policy, offers_only_what_this_machine_can_do) {
  Policy policy = with(Encrypt::require);
  policy.key_exchanges = {KeyExchange::ml_kem_768};
  const auto hybrid = offer_of(policy);
  EXPECT_EQ(hybrid.has_value(), available(KeyExchange::ml_kem_768));
  policy.require_pq = true;
  policy.key_exchanges = {KeyExchange::x25519};
  EXPECT_EQ(offer_of(policy).error(), Refusal::no_post_quantum);
  const auto plain = offer_of(with(Encrypt::off));
  ASSERT_TRUE(plain.has_value());
  EXPECT_TRUE(plain->key_exchanges.empty() && plain->ciphers.empty() && plain->kdfs.empty() &&
              plain->digests.empty());
}

// ---- enc.toml
// ------------------------------------------------------------------------------------

TEST(PolicyFile, reads_every_key) {
  const auto policy = parse_policy(R"(
authenticate = "mutual"
encrypt = "require"
require-pq = true
key-exchange = ["x25519+ml-kem-768", "p-384"]
cipher = ["chacha20-poly1305", "aes-128-gcm"]
digest = ["blake2b-512", "sha3-256"]
)");
  ASSERT_TRUE(policy.has_value());
  EXPECT_EQ(policy->authenticate, Authenticate::mutual);
  EXPECT_EQ(policy->encrypt, Encrypt::require);
  EXPECT_TRUE(policy->require_pq);
  EXPECT_THAT(policy->key_exchanges,
              ElementsAre(KeyExchange::x25519_ml_kem_768, KeyExchange::p384));
  EXPECT_THAT(policy->ciphers, ElementsAre(Cipher::chacha20_poly1305, Cipher::aes_128_gcm));
  EXPECT_THAT(policy->digests, ElementsAre(Digest::blake2b_512, Digest::sha3_256));
}

TEST(PolicyFile, without_a_key_leaves_the_default) {
  EXPECT_EQ(parse_policy("# nothing\n"), Policy{});
}

TEST(PolicyFile, knows_each_name_that_the_algorithms_have) {
  const auto list = [](std::string_view key, const auto& infos) {
    std::string text = std::string(key) + " = [";
    for (const auto& info : infos) {
      text += '"' + std::string(info.name) + "\",";
    }
    return text + "]\n";
  };
  const auto policy = parse_policy(list("key-exchange", all(KeyExchange{})) +
                                   list("cipher", all(Cipher{})) + list("digest", all(Digest{})));
  ASSERT_TRUE(policy.has_value());
  EXPECT_EQ(policy->key_exchanges.size(), all(KeyExchange{}).size());
  EXPECT_EQ(policy->ciphers.size(), all(Cipher{}).size());
  EXPECT_EQ(policy->digests.size(), all(Digest{}).size());
}

std::vector<std::string> problems_of(std::string_view text) {
  const auto policy = parse_policy(text);
  std::vector<std::string> lines;
  if (!policy) {
    for (const PolicyProblem& problem : policy.error()) {
      lines.push_back(to_string(problem, "enc.toml"));
    }
  }
  return lines;
}

TEST(PolicyFile, names_the_line_of_everything_that_is_wrong) {
  EXPECT_THAT(
      problems_of("encrypt = \"always\"\n"
                  "colour = 1\n"
                  "authenticate = true\n"
                  "require-pq = \"yes\"\n"
                  "cipher = [\"aes-256-gcm\",\n"
                  "  \"des\", 7]\n"
                  "digest = []\n"
                  "key-exchange = [\"x25519\", \"x25519\"]\n"),
      ElementsAre(HasSubstr("enc.toml:1: encrypt: 'always' is not allowed; allowed: \"off\""),
                  HasSubstr("enc.toml:2: colour: unknown key"),
                  HasSubstr("enc.toml:3: authenticate: not a string"),
                  HasSubstr("enc.toml:4: require-pq: neither true nor false"),
                  HasSubstr("enc.toml:6: cipher: 'des' is not known; allowed: aes-128-gcm"),
                  HasSubstr("enc.toml:6: cipher: not a string"),
                  HasSubstr("enc.toml:7: digest: not a list"),
                  HasSubstr("enc.toml:8: key-exchange: 'x25519' stands there twice")));
  EXPECT_THAT(problems_of("encrypt ="), ElementsAre(HasSubstr("enc.toml:1: ")));
  EXPECT_THAT(problems_of(std::string(kLongestPolicy + 1, '#')),
              ElementsAre(HasSubstr("longer than")));
}

TEST(PolicyFile, refuses_what_could_never_let_a_flow_through) {
  EXPECT_THAT(problems_of("require-pq = true\nencrypt = \"off\"\n"),
              ElementsAre(HasSubstr("enc.toml:1: require-pq: true contradicts")));
  EXPECT_THAT(problems_of("key-exchange = [\"x25519\"]\nrequire-pq = true\n"),
              ElementsAre(HasSubstr("enc.toml:2: require-pq: true, and key-exchange has none")));
}

TEST(Policy, has_a_word_for_each_value) {
  for (const auto value :
       {Authenticate::none, Authenticate::server, Authenticate::client, Authenticate::mutual}) {
    EXPECT_EQ(parse_authenticate(to_string(value)), value);
  }
  for (const auto value : {Encrypt::off, Encrypt::allow, Encrypt::require}) {
    EXPECT_EQ(parse_encrypt(to_string(value)), value);
  }
  EXPECT_EQ(parse_authenticate("both"), std::nullopt);
  EXPECT_EQ(parse_encrypt(""), std::nullopt);
}

}  // namespace
}  // namespace flowfs::auth
