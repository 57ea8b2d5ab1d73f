// SPDX-License-Identifier: BSD-3-Clause
#include "auth/handshake.hpp"

#include <gmock/gmock.h>

#include <algorithm>

#include "auth_fixture.hpp"

namespace flowfs::auth {
namespace {

using testing::HasSubstr;

// Whether the two sides hold the same keys, each the other way round.
void expect_paired(const Session& one, const Session& other) {
  EXPECT_EQ(one.choice, other.choice);
  EXPECT_TRUE(std::ranges::equal(one.sending.bytes(), other.receiving.bytes()));
  EXPECT_TRUE(std::ranges::equal(one.receiving.bytes(), other.sending.bytes()));
}

TEST_F(Handshake, gives_both_the_same_keys_and_tells_each_who_the_other_is) {
  const Initiator initiator = start(client());
  const auto answered = answer(initiator.request(), server());
  ASSERT_TRUE(answered.has_value()) << answered.error().words();
  const auto session = initiator.finish(answered->bytes, moment());
  ASSERT_TRUE(session.has_value()) << session.error().words();
  expect_paired(*session, answered->session);
  EXPECT_EQ(session->sending.bytes().size(), 32U);
  EXPECT_FALSE(std::ranges::equal(session->sending.bytes(), session->receiving.bytes()));
  EXPECT_TRUE(session->authenticated && answered->session.authenticated);
  EXPECT_THAT(session->subject, HasSubstr("server"));
  EXPECT_THAT(answered->session.subject, HasSubstr("client"));
  EXPECT_EQ(session->data, from_text("welcome"));
  EXPECT_EQ(answered->session.data, from_text("hello"));
}

TEST_F(Handshake, gives_other_keys_each_time) {
  const Initiator first = start(client());
  const Initiator second = start(client());
  const auto one = answer(first.request(), server());
  const auto two = answer(second.request(), server());
  ASSERT_TRUE(one && two);
  EXPECT_FALSE(std::ranges::equal(one->session.sending.bytes(), two->session.sending.bytes()));
}

TEST_F(Handshake, works_with_every_key_exchange_of_this_machine) {
  const ServerKey key;
  for (const KeyExchangeInfo& info : all(KeyExchange{})) {
    if (!available(info.code)) {
      continue;
    }
    Party dialler = client(Authenticate::none);
    dialler.policy.key_exchanges = {info.code};
    dialler.policy.require_pq = info.post_quantum;
    dialler.server_key = key.known();
    Party acceptor = server(Authenticate::none);
    acceptor.policy.key_exchanges = {info.code};
    acceptor.server_key = key.own();
    const Initiator initiator = start(dialler);
    const auto answered = answer(initiator.request(), acceptor);
    ASSERT_TRUE(answered.has_value()) << info.name << answered.error().words();
    const auto session = initiator.finish(answered->bytes, moment());
    ASSERT_TRUE(session.has_value()) << info.name << session.error().words();
    EXPECT_EQ(session->choice.key_exchange, info.code);
    expect_paired(*session, answered->session);
  }
}

TEST_F(Handshake, uses_the_servers_key_only_where_both_have_it) {
  if (!available(KeyExchange::ml_kem_768)) {
    GTEST_SKIP() << "this OpenSSL has no ML-KEM, which came with 3.5";
  }
  const ServerKey key;
  const ServerKey former;
  Party dialler = client();
  dialler.policy.key_exchanges = {KeyExchange::x25519_ml_kem_768_client,
                                  KeyExchange::x25519_ml_kem_768};
  Party acceptor = server();
  acceptor.policy.key_exchanges = dialler.policy.key_exchanges;
  const auto chosen = [&](const KemKey* known, const KemKey* own) {
    dialler.server_key = known;
    acceptor.server_key = own;
    const auto answered = answer(start(dialler).request(), acceptor);
    EXPECT_TRUE(answered.has_value());
    return answered ? answered->session.choice.key_exchange : KeyExchange::none;
  };
  EXPECT_EQ(chosen(key.known(), key.own()), KeyExchange::x25519_ml_kem_768_client);
  EXPECT_EQ(chosen(nullptr, key.own()), KeyExchange::x25519_ml_kem_768);
  EXPECT_EQ(chosen(key.known(), nullptr), KeyExchange::x25519_ml_kem_768);
  dialler.server_key = former.known();
  acceptor.server_key = key.own();
  EXPECT_EQ(refusal_of(answer(start(dialler).request(), acceptor)), Refusal::other_server_key);
}

TEST_F(Handshake, works_with_every_digest) {
  for (const DigestInfo& info : all(Digest{})) {
    Party dialler = client();
    dialler.policy.digests = {info.code};
    Party acceptor = server();
    acceptor.policy.digests = {info.code};
    const Initiator initiator = start(dialler);
    const auto answered = answer(initiator.request(), acceptor);
    ASSERT_TRUE(answered.has_value()) << info.name;
    const auto session = initiator.finish(answered->bytes, moment());
    ASSERT_TRUE(session.has_value()) << info.name;
    expect_paired(*session, answered->session);
  }
}

TEST_F(Handshake, without_any_wish_ends_with_a_plain_flow_between_strangers) {
  const Initiator initiator = start(client(Authenticate::none, Encrypt::off));
  const auto answered = answer(initiator.request(), server(Authenticate::none, Encrypt::off));
  ASSERT_TRUE(answered.has_value()) << answered.error().words();
  const auto session = initiator.finish(answered->bytes, moment());
  ASSERT_TRUE(session.has_value()) << session.error().words();
  for (const Session* one : {&*session, &answered->session}) {
    EXPECT_FALSE(one->choice.encrypted());
    EXPECT_TRUE(one->sending.empty() && one->receiving.empty());
    EXPECT_FALSE(one->authenticated);  // whatever certificates were shown
    EXPECT_EQ(one->subject, "");
  }
}

TEST_F(Handshake, authenticates_as_far_as_either_side_asks) {
  for (const auto& [clients, servers] : {std::pair{Authenticate::none, Authenticate::server},
                                         std::pair{Authenticate::server, Authenticate::none},
                                         std::pair{Authenticate::server, Authenticate::client},
                                         std::pair{Authenticate::none, Authenticate::client}}) {
    const Initiator initiator = start(client(clients));
    const auto answered = answer(initiator.request(), server(servers));
    ASSERT_TRUE(answered.has_value()) << answered.error().words();
    const auto session = initiator.finish(answered->bytes, moment());
    ASSERT_TRUE(session.has_value()) << session.error().words();
    EXPECT_EQ(session->authenticated,
              covers(clients, Authenticate::server) || covers(servers, Authenticate::server));
    EXPECT_EQ(answered->session.authenticated,
              covers(clients, Authenticate::client) || covers(servers, Authenticate::client));
  }
}

TEST_F(Handshake, takes_the_first_of_the_servers_order) {
  Party dialler = client();
  dialler.policy.key_exchanges = {KeyExchange::p256, KeyExchange::x25519, KeyExchange::x448};
  dialler.policy.ciphers = {Cipher::aes_128_gcm, Cipher::chacha20_poly1305, Cipher::aes_256_gcm};
  dialler.policy.digests = {Digest::sha256, Digest::sha512};
  Party acceptor = server();
  acceptor.policy.key_exchanges = {KeyExchange::p384, KeyExchange::x448, KeyExchange::p256};
  acceptor.policy.ciphers = {Cipher::chacha20_poly1305, Cipher::aes_128_gcm};
  acceptor.policy.digests = {Digest::sha3_256, Digest::sha512, Digest::sha256};
  const auto answered = answer(start(dialler).request(), acceptor);
  ASSERT_TRUE(answered.has_value());
  EXPECT_EQ(answered->session.choice,
            (Choice{KeyExchange::x448, Cipher::chacha20_poly1305, Kdf::hkdf, Digest::sha512}));
}

// ---- refused at the start

TEST_F(Handshake, is_not_begun_without_what_its_policy_asks_of_this_side) {
  Party nobody = client();
  nobody.credential = nullptr;
  EXPECT_EQ(refusal_of(Initiator::start(nobody, moment())), Refusal::no_credential);
  EXPECT_EQ(refusal_of(Initiator::start(client(), moment(), [](auto) { return false; })),
            Refusal::unable);
  Party talkative = client();
  talkative.data.resize(kMostData + 1);
  EXPECT_EQ(refusal_of(Initiator::start(talkative, moment())), Refusal::malformed);
  talkative.data.resize(kMostData);
  EXPECT_TRUE(Initiator::start(talkative, moment()).has_value());
}

TEST_F(Handshake, that_requires_post_quantum_comes_about_or_is_refused_and_never_does_without) {
  Party wary = client();
  wary.policy.require_pq = true;
  wary.policy.key_exchanges = {KeyExchange::x25519, KeyExchange::x25519_ml_kem_768};
  Party acceptor = server();
  acceptor.policy = wary.policy;
  if (!available(KeyExchange::ml_kem_768)) {
    EXPECT_EQ(refusal_of(Initiator::start(wary, moment())), Refusal::no_post_quantum);
    const Initiator easy = start(client());
    EXPECT_EQ(refusal_of(answer(easy.request(), acceptor)), Refusal::no_post_quantum);
    return;
  }
  const auto answered = answer(start(wary).request(), acceptor);
  ASSERT_TRUE(answered.has_value()) << answered.error().words();
  EXPECT_EQ(answered->session.choice.key_exchange, KeyExchange::x25519_ml_kem_768);
  const Initiator easy = start(client());  // which offers nothing of the kind
  EXPECT_EQ(refusal_of(answer(easy.request(), acceptor)), Refusal::no_post_quantum);
}

// ---- refused by the client

TEST_F(Handshake, client_refuses_the_answer_to_another_request) {
  const Initiator mine = start(client());
  const Initiator other = start(client());
  const auto answered = answer(other.request(), server());
  ASSERT_TRUE(answered.has_value());
  EXPECT_EQ(refusal_of(mine.finish(answered->bytes, moment())), Refusal::wrong_request);
  EXPECT_EQ(refusal_of(mine.finish(mine.request(), moment())), Refusal::wrong_kind);
  EXPECT_EQ(refusal_of(other.finish(answered->bytes, moment(31))), Refusal::outside_window);
  EXPECT_TRUE(other.finish(answered->bytes, moment()).has_value());  // nothing was spoilt
}

TEST_F(Handshake, client_refuses_a_server_that_is_not_the_one_dialled) {
  const auto refused = [&](const Credential* credential, const Trust* trust) {
    Party dialler = client();
    dialler.trust = trust;
    const Initiator initiator = start(dialler);
    Party acceptor = server();
    acceptor.credential = credential;
    const auto answered = answer(initiator.request(), acceptor);
    EXPECT_TRUE(answered.has_value());
    return refusal_of(initiator.finish(answered->bytes, moment()));
  };
  EXPECT_EQ(refused(people_->stray.get(), &people_->trust), Refused(Verdict::wrong_name));
  EXPECT_EQ(refused(people_->client.get(), &people_->trust), Refused(Verdict::wrong_purpose));
  EXPECT_EQ(refused(people_->server.get(), &people_->strangers), Refused(Verdict::untrusted));
  EXPECT_EQ(refused(people_->server.get(), nullptr), Refusal::no_trust);
}

TEST_F(Handshake, believes_no_signature_because_it_knows_the_certificate) {
  KnownChains known;
  Party dialler = client();
  Party acceptor = server();
  dialler.known = &known;
  acceptor.known = &known;
  for (int i = 0; i < 2; ++i) {
    const Initiator initiator = start(dialler);
    const auto answered = answer(initiator.request(), acceptor);
    ASSERT_TRUE(answered.has_value());
    EXPECT_TRUE(initiator.finish(answered->bytes, moment()).has_value());
    EXPECT_EQ(known.size(), 2U);
    const auto change = [](Header& header) { header.signature.front() ^= std::byte{1}; };
    EXPECT_EQ(refusal_of(initiator.finish(forged(answered->bytes, change), moment())),
              Refusal::bad_signature);
    EXPECT_EQ(refusal_of(answer(forged(start(dialler).request(), change), acceptor)),
              Refusal::bad_signature);
  }
}

// Who has signed is never shown like nobody.
TEST_F(Handshake, has_a_word_for_whoever_has_no_subject) {
  ASSERT_TRUE(people_->files().run(
      "key blank.key ED25519\n"
      "openssl req -new -key blank.key -subj / -out blank.csr\n"
      "printf 'subjectAltName=critical,DNS:log\\nextendedKeyUsage=serverAuth\\n' >blank.ext\n"
      "openssl x509 -req -in blank.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 10 "
      "-extfile blank.ext -out blank.pem\n"));
  const auto blank =
      Credential::parse(people_->files().read("blank.pem"), people_->files().read("blank.key"));
  ASSERT_TRUE(blank);
  EXPECT_EQ(blank->leaf().subject(), "");
  Party acceptor = server();
  acceptor.credential = &*blank;
  const Initiator initiator = start(client());
  const auto answered = answer(initiator.request(), acceptor);
  ASSERT_TRUE(answered.has_value());
  const auto session = initiator.finish(answered->bytes, moment());
  ASSERT_TRUE(session.has_value()) << session.error().words();
  EXPECT_TRUE(session->authenticated);
  EXPECT_EQ(session->subject, "flowfs:log");
}

TEST_F(Handshake, client_does_without_no_certificate_that_it_asked_for) {
  const Initiator initiator = start(client(Authenticate::server));
  const auto answered = answer(initiator.request(), server());
  ASSERT_TRUE(answered.has_value());
  const Bytes stripped = forged(answered->bytes, [](Header& header) {
    header.certificates.clear();
    header.signature.clear();
  });
  EXPECT_EQ(refusal_of(initiator.finish(stripped, moment())), Refusal::no_certificate);
}

TEST_F(Handshake, client_refuses_an_answer_whose_request_was_weakened_on_the_way) {
  Party dialler = client(Authenticate::none, Encrypt::allow);
  dialler.credential = nullptr;
  dialler.policy.key_exchanges = {KeyExchange::x448, KeyExchange::x25519};
  Party acceptor = server(Authenticate::none, Encrypt::allow);
  acceptor.policy.key_exchanges = dialler.policy.key_exchanges;
  const Initiator initiator = start(dialler);
  const Bytes plain = forged(initiator.request(), [](Header& header) {
    header.offer = {.key_exchanges = {}, .ciphers = {}, .kdfs = {}, .digests = {}};
    header.shares.clear();
  });
  const Bytes weaker = forged(initiator.request(), [](Header& header) {
    header.offer.key_exchanges.erase(header.offer.key_exchanges.begin());
    header.shares.erase(header.shares.begin());
  });
  for (const Bytes& request : {plain, weaker}) {
    const auto answered = answer(request, acceptor);
    ASSERT_TRUE(answered.has_value()) << answered.error().words();
    responder_ = Responder(patient(), moment(-3600));  // the second has the id of the first
    EXPECT_EQ(refusal_of(initiator.finish(answered->bytes, moment())), Refusal::wrong_choice);
  }
}

TEST_F(Handshake, client_refuses_a_key_share_that_is_none) {
  const Initiator initiator = start(client(Authenticate::none));
  const auto answered = answer(initiator.request(), server(Authenticate::none));
  ASSERT_TRUE(answered.has_value());
  const Bytes broken = forged(answered->bytes, [](Header& header) {
    std::ranges::fill(header.shares.front(), std::byte{0});
  });
  EXPECT_EQ(refusal_of(initiator.finish(broken, moment())), Refusal::bad_key_share);
}

// ---- tampering

TEST_F(Handshake, notices_a_change_of_any_byte_of_the_request) {
  const Bytes request = copy(start(client()).request());
  for (std::size_t i = 0; i < request.size(); ++i) {
    Bytes changed = request;
    changed[i] ^= std::byte{1};
    EXPECT_FALSE(answer(changed, server()).has_value()) << "byte " << i;
  }
  EXPECT_TRUE(answer(request, server()).has_value());
}

TEST_F(Handshake, notices_a_change_of_any_byte_of_the_response) {
  const Initiator initiator = start(client());
  const auto answered = answer(initiator.request(), server());
  ASSERT_TRUE(answered.has_value());
  for (std::size_t i = 0; i < answered->bytes.size(); ++i) {
    Bytes changed = answered->bytes;
    changed[i] ^= std::byte{1};
    EXPECT_FALSE(initiator.finish(changed, moment()).has_value()) << "byte " << i;
  }
  EXPECT_TRUE(initiator.finish(answered->bytes, moment()).has_value());
}

TEST_F(Handshake, notices_where_anything_is_cut_off_or_added) {
  const Initiator initiator = start(client());
  Bytes request = copy(initiator.request());
  for (std::size_t size = 0; size < request.size(); ++size) {
    EXPECT_EQ(refusal_of(answer(View(request).first(size), server())), Refusal::malformed);
  }
  request.push_back(std::byte{0});
  EXPECT_EQ(refusal_of(answer(request, server())), Refusal::malformed);
}

// ---- the openssl command

// What a header carries, checked by a program that knows nothing of us.
class OpensslAgrees : public Handshake {
 protected:
  // `verify` is a command that looks at public.pem, message and signature; `purpose` is what the
  // certificate is for.
  static void check(View header, const char* purpose, const char* verify) {
    const auto parsed = decode(header);
    ASSERT_TRUE(parsed.has_value());
    const OpensslCommand& files = people_->files();
    files.write("leaf.der", text(parsed->header.certificates.front()));
    files.write("message", text(to_be_signed(parsed->header.kind, parsed->signed_part)));
    files.write("signature", text(parsed->header.signature));
    EXPECT_TRUE(files.run(std::string("purpose=") + purpose +
                          "\n"
                          "openssl x509 -inform der -in leaf.der -out leaf.pem\n"
                          "openssl verify -purpose $purpose -CAfile ca.pem leaf.pem\n"
                          "openssl x509 -in leaf.pem -pubkey -noout >public.pem\n"
                          "check() { " +
                          verify +
                          "; }\n"
                          "check\n"
                          "printf x >>message\n"
                          "! check\n"));
  }

  static constexpr const char* kEdwards =
      "openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in message -sigfile signature";

 private:
  static std::string text(View bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

TEST_F(OpensslAgrees, with_the_signatures_of_both_headers) {
  const Initiator initiator = start(client());
  const auto answered = answer(initiator.request(), server());
  ASSERT_TRUE(answered.has_value());
  check(initiator.request(), "sslclient", kEdwards);
  check(answered->bytes, "sslserver", kEdwards);
}

TEST_F(OpensslAgrees, with_one_that_is_of_a_digest) {
  Party acceptor = server();
  acceptor.credential = people_->curve.get();
  const Initiator initiator = start(client());
  const auto answered = answer(initiator.request(), acceptor);
  ASSERT_TRUE(answered.has_value());
  check(answered->bytes, "sslserver",
        "openssl dgst -sha256 -verify public.pem -signature signature message");
}

}  // namespace
}  // namespace flowfs::auth
