// SPDX-License-Identifier: BSD-3-Clause
// What the accepting side of a handshake refuses, and in which order it looks.
#include <gtest/gtest.h>

#include <algorithm>

#include "auth/handshake.hpp"
#include "auth_fixture.hpp"

namespace flowfs::auth {
namespace {

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
  EXPECT_EQ(refused([](Policy&, Policy& server) {
              server.require_pq = true;
              server.key_exchanges = {KeyExchange::x25519_ml_kem_768, KeyExchange::x25519};
            }),
            Refusal::no_post_quantum);
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

// Where the clock was set back meanwhile, only whoever has kept the time until which requests were
// answered knows one of them again; docs/oap.md says what it costs not to.
TEST_F(Handshake, server_answers_once_more_after_a_restart_with_its_clock_set_back) {
  const Initiator initiator = start(client());
  const auto answered = answer(initiator.request(), server());
  ASSERT_TRUE(answered.has_value());
  Responder keeping(patient(), moment(1));
  EXPECT_EQ(refusal_of(keeping.answer(initiator.request(), server(), 1, moment())),
            Refusal::before_start);
  Responder forgetful(patient(), moment(-1800));
  const auto again = forgetful.answer(initiator.request(), server(), 1, moment());
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(refusal_of(forgetful.answer(initiator.request(), server(), 1, moment())),
            Refusal::replayed);
  EXPECT_FALSE(
      std::ranges::equal(again->session.receiving.bytes(), answered->session.receiving.bytes()))
      << "the keys are new ones, and who replays has no part of them";
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

}  // namespace
}  // namespace flowfs::auth
