// SPDX-License-Identifier: BSD-3-Clause
#include "auth/handshake.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <vector>

#include "auth_fixture.hpp"

namespace flowfs::auth {
namespace {

using testing::HasSubstr;

Refused refusal_of(const auto& result) {
  EXPECT_FALSE(result.has_value());
  return result ? Refused(Verdict::ok) : result.error();
}

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
  for (const KeyExchangeInfo& info : all(KeyExchange{})) {
    if (!available(info.code)) {
      continue;
    }
    Party dialler = client(Authenticate::none);
    dialler.policy.key_exchanges = {info.code};
    Party acceptor = server(Authenticate::none);
    acceptor.policy.key_exchanges = {info.code};
    const Initiator initiator = start(dialler);
    const auto answered = answer(initiator.request(), acceptor);
    ASSERT_TRUE(answered.has_value()) << info.name << answered.error().words();
    const auto session = initiator.finish(answered->bytes, moment());
    ASSERT_TRUE(session.has_value()) << info.name << session.error().words();
    EXPECT_EQ(session->choice.key_exchange, info.code);
    expect_paired(*session, answered->session);
  }
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
// ------------------------------------------------------------------------

TEST_F(Handshake, is_not_begun_without_what_its_policy_asks_of_this_side) {
  Party nobody = client();
  nobody.credential = nullptr;
  EXPECT_EQ(refusal_of(Initiator::start(nobody, moment())), Refusal::no_credential);
  if (!available(KeyExchange::ml_kem_768)) {
    Party wary = client();
    wary.policy.require_pq = true;
    wary.policy.key_exchanges = {KeyExchange::x25519_ml_kem_768, KeyExchange::x25519};
    EXPECT_EQ(refusal_of(Initiator::start(wary, moment())), Refusal::no_post_quantum);
  }
  EXPECT_EQ(refusal_of(Initiator::start(client(), moment(), [](auto) { return false; })),
            Refusal::unable);
  Party talkative = client();
  talkative.data.resize(kMostData + 1);
  EXPECT_EQ(refusal_of(Initiator::start(talkative, moment())), Refusal::malformed);
  talkative.data.resize(kMostData);
  EXPECT_TRUE(Initiator::start(talkative, moment()).has_value());
}

// ---- refused by the server
// -----------------------------------------------------------------------

TEST_F(Handshake, server_refuses_what_is_not_a_request) {
  EXPECT_EQ(refusal_of(answer({}, server())), Refusal::malformed);
  EXPECT_EQ(refusal_of(answer(counting(0, 300), server())), Refusal::malformed);
  Bytes request = copy(start(client()).request());
  const auto answered = answer(request, server());
  ASSERT_TRUE(answered.has_value());
  EXPECT_EQ(refusal_of(answer(answered->bytes, server())), Refusal::wrong_kind);
  request.at(3) = std::byte{2};
  EXPECT_EQ(refusal_of(answer(request, server())), Refusal::unknown_version);
}

TEST_F(Handshake, server_refuses_what_the_policies_do_not_allow_together) {
  const auto refused = [&](const auto& change) {
    Party dialler = client();
    Party acceptor = server();
    change(dialler.policy, acceptor.policy);
    const Initiator initiator = start(dialler);
    return refusal_of(answer(initiator.request(), acceptor));
  };
  EXPECT_EQ(refused([](Policy& client, Policy&) { client.encrypt = Encrypt::off; }),
            Refusal::encryption_required);
  EXPECT_EQ(refused([](Policy&, Policy& server) { server.encrypt = Encrypt::off; }),
            Refusal::encryption_required);
  EXPECT_EQ(refused([](Policy& client, Policy&) { client.key_exchanges = {KeyExchange::x448}; }),
            Refusal::no_common_key_exchange);
  EXPECT_EQ(refused([](Policy& client, Policy&) { client.ciphers = {Cipher::aes_128_gcm}; }),
            Refusal::no_common_cipher);
  EXPECT_EQ(refused([](Policy& client, Policy&) { client.digests = {Digest::sha3_512}; }),
            Refusal::no_common_digest);
  EXPECT_EQ(refused([](Policy&, Policy& server) {
              server.kdfs = {static_cast<Kdf>(200)};  // of a later version
            }),
            Refusal::no_common_kdf);
  if (!available(KeyExchange::ml_kem_768)) {
    EXPECT_EQ(refused([](Policy&, Policy& server) {
                server.require_pq = true;
                server.key_exchanges = {KeyExchange::x25519_ml_kem_768, KeyExchange::x25519};
              }),
              Refusal::no_post_quantum);
  }
}

TEST_F(Handshake, falls_back_to_plain_only_where_both_merely_allow_encryption) {
  Party dialler = client(Authenticate::none, Encrypt::allow);
  Party acceptor = server(Authenticate::none, Encrypt::allow);
  acceptor.policy.key_exchanges = {KeyExchange::p521};
  const auto answered = answer(start(dialler).request(), acceptor);
  ASSERT_TRUE(answered.has_value());
  EXPECT_FALSE(answered->session.choice.encrypted());
  acceptor.policy.encrypt = Encrypt::require;
  EXPECT_EQ(refusal_of(answer(start(dialler).request(), acceptor)),
            Refusal::no_common_key_exchange);
}

TEST_F(Handshake, server_without_a_certificate_refuses_where_one_is_wanted) {
  Party acceptor = server(Authenticate::none);
  acceptor.credential = nullptr;
  EXPECT_EQ(refusal_of(answer(start(client(Authenticate::server)).request(), acceptor)),
            Refusal::no_credential);
}

TEST_F(Handshake, server_refuses_another_time) {
  const auto at = [&](std::int64_t seconds) {
    const Initiator initiator = start(client(), moment(seconds));
    return answer(initiator.request(), server());
  };
  EXPECT_EQ(refusal_of(at(-31)), Refusal::outside_window);
  EXPECT_EQ(refusal_of(at(31)), Refusal::outside_window);
  EXPECT_TRUE(at(-29).has_value());
  EXPECT_TRUE(at(29).has_value());
}

TEST_F(Handshake, server_refuses_a_request_from_before_its_start_which_it_may_have_answered) {
  const Initiator initiator = start(client());
  ASSERT_TRUE(answer(initiator.request(), server()).has_value());
  Responder restarted(patient(), moment(1));
  EXPECT_EQ(refusal_of(restarted.answer(initiator.request(), server(), 1, moment(2))),
            Refusal::before_start);
}

TEST_F(Handshake, server_answers_a_request_once_whatever_its_clock_does) {
  const Initiator initiator = start(client());
  ASSERT_TRUE(answer(initiator.request(), server()).has_value());
  EXPECT_EQ(refusal_of(answer(initiator.request(), server())), Refusal::replayed);
  // Forward by a day, where others are answered, and back.
  Time tomorrow = moment(86'400);
  tomorrow.steady = moment().steady;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(answer(start(client(), tomorrow).request(), server(), tomorrow));
  }
  EXPECT_EQ(refusal_of(answer(initiator.request(), server(), tomorrow)), Refusal::outside_window);
  EXPECT_EQ(refusal_of(answer(initiator.request(), server())), Refusal::replayed);
  EXPECT_TRUE(answer(start(client()).request(), server()).has_value());
}

TEST_F(Handshake, server_answers_one_source_only_so_often_and_others_all_the_same) {
  Responder strict({.rate = 10}, moment(-3600));
  const auto from = [&](std::uint64_t source, const Time& time) {
    return strict.answer(start(client()).request(), server(), source, time);
  };
  EXPECT_TRUE(from(1, moment()).has_value());
  EXPECT_EQ(refusal_of(from(1, moment())), Refusal::too_many);
  EXPECT_TRUE(from(2, moment()).has_value());
  EXPECT_TRUE(from(1, moment(1)).has_value());
}

TEST_F(Handshake, server_refuses_certificates_that_it_has_no_reason_to_believe) {
  Party nobody = client(Authenticate::none);
  nobody.credential = nullptr;
  EXPECT_EQ(refusal_of(answer(start(nobody).request(), server())), Refusal::no_certificate);
  Party trusting_none = server();
  trusting_none.trust = nullptr;
  EXPECT_EQ(refusal_of(answer(start(client()).request(), trusting_none)), Refusal::no_trust);
  const Trust nothing;
  trusting_none.trust = &nothing;
  EXPECT_EQ(refusal_of(answer(start(client()).request(), trusting_none)), Refusal::no_trust);
  Party estranged = server();
  estranged.trust = &people_->strangers;
  EXPECT_EQ(refusal_of(answer(start(client()).request(), estranged)), Refused(Verdict::untrusted));
  Party borrowed = client();
  borrowed.credential = people_->server.get();  // of a server, not of a client
  EXPECT_EQ(refusal_of(answer(start(borrowed).request(), server())),
            Refused(Verdict::wrong_purpose));
  Time late = moment();
  late.calendar += 86'400 * 11;
  EXPECT_EQ(refusal_of(answer(start(client()).request(), server(), late)),
            Refused(Verdict::expired));
  late.calendar = moment().calendar - 86'400 * 2;
  EXPECT_EQ(refusal_of(answer(start(client()).request(), server(), late)),
            Refused(Verdict::not_yet_valid));
}

// Fields of a request that a client which does not keep to the rules might send.
Bytes forged(View request, const auto& change) {
  auto parsed = decode(request);
  EXPECT_TRUE(parsed.has_value());
  change(parsed->header);
  return encode(parsed->header);
}

TEST_F(Handshake, server_refuses_a_certificate_that_cannot_be_read) {
  const Bytes request = forged(start(client()).request(), [](Header& header) {
    header.certificates.front() = counting(0, 100);
  });
  EXPECT_EQ(refusal_of(answer(request, server())), Refused(Verdict::malformed));
}

TEST_F(Handshake, server_refuses_a_request_for_another_name) {
  Party mail = client(Authenticate::none);
  mail.name = "mail";
  EXPECT_EQ(refusal_of(answer(start(mail).request(), server(Authenticate::none))),
            Refusal::wrong_destination);
}

TEST_F(Handshake, server_refuses_a_signature_of_somebody_else) {
  Party impostor = client();
  impostor.credential = people_->stray.get();
  const auto strangers = decode(start(impostor).request());
  ASSERT_TRUE(strangers.has_value());
  const Bytes request = forged(start(client()).request(), [&](Header& header) {
    header.signature = strangers->header.signature;
  });
  EXPECT_EQ(refusal_of(answer(request, server())), Refusal::bad_signature);
}

TEST_F(Handshake, server_refuses_a_key_share_that_is_none) {
  const Bytes request = forged(start(client(Authenticate::none)).request(), [](Header& header) {
    std::ranges::fill(header.shares.front(), std::byte{0});
  });
  EXPECT_EQ(refusal_of(answer(request, server(Authenticate::none))), Refusal::bad_key_share);
}

TEST_F(Handshake, server_checks_in_the_order_of_what_it_costs) {
  Responder strict({.rate = 1}, moment(-3600));
  const Initiator good = start(client());
  ASSERT_TRUE(strict.answer(good.request(), server(), 1, moment()).has_value());
  Party estranged = server();
  estranged.trust = &people_->strangers;
  // Each has the faults of all that follow.
  estranged.policy.ciphers = {Cipher::aes_128_gcm};
  EXPECT_EQ(refusal_of(strict.answer(good.request(), estranged, 1, moment(60))),
            Refusal::no_common_cipher);
  estranged.policy.ciphers = server().policy.ciphers;
  EXPECT_EQ(refusal_of(strict.answer(good.request(), estranged, 1, moment(60))),
            Refusal::outside_window);
  EXPECT_EQ(refusal_of(strict.answer(good.request(), estranged, 1, moment())), Refusal::too_many);
  EXPECT_EQ(refusal_of(strict.answer(good.request(), estranged, 1, moment(1))), Refusal::replayed);
  const Bytes crooked = forged(start(client()).request(), [](Header& header) {
    header.name = "mail";
    header.signature.front() ^= std::byte{1};
  });
  EXPECT_EQ(refusal_of(strict.answer(crooked, estranged, 2, moment())),
            Refused(Verdict::untrusted));
  EXPECT_EQ(refusal_of(strict.answer(crooked, server(), 3, moment())), Refusal::wrong_destination);
}

TEST_F(Handshake, server_remembers_only_requests_that_it_has_believed) {
  const Initiator initiator = start(client());
  Party estranged = server();
  estranged.trust = &people_->strangers;
  EXPECT_EQ(refusal_of(answer(initiator.request(), estranged)), Refused(Verdict::untrusted));
  EXPECT_TRUE(answer(initiator.request(), server()).has_value());
}

// ---- refused by the client
// -----------------------------------------------------------------------

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
// -----------------------------------------------------------------------------------

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
// -------------------------------------------------------------------------

// What a header carries, checked by a program that knows nothing of us.
TEST_F(Handshake, is_signed_so_that_the_openssl_command_agrees) {
  const auto check = [&](const Initiator& initiator, const Party& acceptor, const char* verify) {
    const auto answered = answer(initiator.request(), acceptor);
    ASSERT_TRUE(answered.has_value());
    const auto parsed = decode(answered->bytes);
    ASSERT_TRUE(parsed.has_value());
    const auto text = [](View bytes) {
      return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
    const OpensslCommand& files = people_->files();
    files.write("leaf.der", text(parsed->header.certificates.front()));
    files.write("message", text(to_be_signed(Header::Kind::response, parsed->signed_part)));
    files.write("signature", text(parsed->header.signature));
    EXPECT_TRUE(files.run(std::string("openssl x509 -inform der -in leaf.der -out leaf.pem\n"
                                      "openssl verify -purpose sslserver -CAfile ca.pem leaf.pem\n"
                                      "openssl x509 -in leaf.pem -pubkey -noout >public.pem\n"
                                      "check() { ") +
                          verify +
                          "; }\n"
                          "check\n"
                          "printf x >>message\n"
                          "! check\n"));
  };
  check(start(client()), server(),
        "openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in message -sigfile signature");
  Party acceptor = server();
  acceptor.credential = people_->curve.get();
  check(start(client()), acceptor,
        "openssl dgst -sha256 -verify public.pem -signature signature message");
}

}  // namespace
}  // namespace flowfs::auth
