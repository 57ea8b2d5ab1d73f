// SPDX-License-Identifier: BSD-3-Clause
// Everything that the layer does, again and again, with the first allocation failing, the second,
// and so on: ours and OpenSSL's. What comes of it is refused or right, never believed by mistake,
// and the next time it works. (That nothing is lost on the way is for AddressSanitizer to see, but
// where OpenSSL has no memory: then it loses some itself.)
#include <gtest/gtest.h>
#include <openssl/crypto.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>

#include "auth/issue.hpp"
#include "auth/policy_file.hpp"
#include "auth/record.hpp"
#include "auth/security_folder.hpp"
#include "auth_fixture.hpp"

namespace {

enum class Whose { ours, openssl };

// Of this process, which has one thread. 0: none is to fail any more.
std::size_t fails_at = 0;
Whose failing = Whose::ours;

bool fails_now(Whose whose) {
  if (whose != failing || fails_at == 0) {
    return false;
  }
  --fails_at;
  return fails_at == 0;
}

class IgnoreLeaks {
 public:
#ifdef __SANITIZE_ADDRESS__
  IgnoreLeaks() { __lsan_disable(); }
  ~IgnoreLeaks() { __lsan_enable(); }
#else
  IgnoreLeaks() = default;
  ~IgnoreLeaks() {}  // NOLINT(modernize-use-equals-default): it is used for what it does elsewhere
#endif
  IgnoreLeaks(const IgnoreLeaks&) = delete;
  IgnoreLeaks& operator=(const IgnoreLeaks&) = delete;
};

// NOLINTBEGIN(cppcoreguidelines-no-malloc): what stands behind new, and behind OpenSSL
void* allocate(std::size_t bytes, const char* /*file*/, int /*line*/) {
  return fails_now(Whose::openssl) ? nullptr : std::malloc(bytes);
}
void* reallocate(void* old, std::size_t bytes, const char* /*file*/, int /*line*/) {
  return fails_now(Whose::openssl) ? nullptr : std::realloc(old, bytes);
}
void give_back(void* old, const char* /*file*/, int /*line*/) { std::free(old); }

// Before OpenSSL has allocated anything, which is when it takes them.
const bool kHooked = CRYPTO_set_mem_functions(allocate, reallocate, give_back) == 1;

}  // namespace

// Not inline: GCC takes what it sees of one of them for the whole of another.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  void* const made =
      fails_now(Whose::ours) ? nullptr : std::malloc(std::max<std::size_t>(bytes, 1));
  if (made == nullptr) {
    throw std::bad_alloc();
  }
  return made;
}
[[gnu::noinline]] void operator delete(void* old) noexcept { std::free(old); }
[[gnu::noinline]] void operator delete(void* old, std::size_t /*bytes*/) noexcept {
  std::free(old);
}
// NOLINTEND(cppcoreguidelines-no-malloc)

namespace flowfs::auth {
namespace {

// Runs `operation(prepare())` until no allocation of `whose` fails any more, and has `check` look
// at what came of each that came to an end. `prepare` runs with memory enough. How many have
// failed.
template <typename Prepare, typename Operation, typename Check>
std::size_t run_all(Whose whose, const Prepare& prepare, const Operation& operation,
                    const Check& check, std::size_t every) {
  std::size_t failed = 0;
  for (bool went_through = false; !went_through; failed += every) {
    auto given = prepare();
    std::optional<std::invoke_result_t<const Operation&, decltype(given)&>> result;
    failing = whose;
    fails_at = failed + 1;
    try {
      result.emplace(operation(given));
    } catch (const std::bad_alloc&) {  // which is an answer
      result.reset();
    }
    went_through = std::exchange(fails_at, 0) > 0;
    EXPECT_TRUE(result || !went_through);
    if (result) {
      check(*result, went_through);
    }
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << "where allocation " << failed + 1 << " failed, of "
                    << (whose == Whose::ours ? "ours" : "OpenSSL's");
      break;
    }
  }
  return failed;
}

// Where there are thousands of allocations, only one of `every` fails.
template <typename Prepare, typename Operation, typename Check>
void with_each_failing(const Prepare& prepare, const Operation& operation, const Check& check,
                       std::size_t every = 1) {
  ASSERT_TRUE(kHooked);
  std::size_t failed = run_all(Whose::ours, prepare, operation, check, every);
  const IgnoreLeaks ignored;
  failed += run_all(Whose::openssl, prepare, operation, check, every);
  EXPECT_GT(failed, 2 * every);
}

class Memory : public Handshake {
 protected:
  static void SetUpTestSuite() {
    Handshake::SetUpTestSuite();
    // What OpenSSL and the tables of the layer look up once is there.
    const Initiator initiator = start(client());
    Responder responder(patient(), moment(-3600));
    const auto answered = responder.answer(initiator.request(), server(), 1, moment());
    ASSERT_TRUE(answered && initiator.finish(answered->bytes, moment()));
  }
  static std::string read(const std::string& file) { return people_->files().read(file); }
  static constexpr auto nothing = [] { return 0; };
};

bool verifies(const Certificate& certificate, View message, const Bytes& signature) {
  return certificate.verify_signature(message, signature);
}

TEST_F(Memory, gives_a_credential_whole_or_none) {
  const std::string certificate = read("server.pem");
  const std::string key = read("server.key");
  const Bytes message = counting(0, 50);
  with_each_failing(
      nothing, [&](int) { return Credential::parse(certificate, key); },
      [&](const Result<Credential>& credential, bool went_through) {
        ASSERT_TRUE(credential || !went_through);
        if (credential) {
          const auto signature = credential->sign(message);
          EXPECT_TRUE(signature && verifies(credential->leaf(), message, *signature));
        }
      },
      5);
}

TEST_F(Memory, signs_and_verifies_rightly_or_not_at_all) {
  for (const auto& credential : {people_->server.get(), people_->curve.get()}) {
    const Bytes message = counting(0, 50);
    with_each_failing(
        nothing, [&](int) { return credential->sign(message); },
        [&](const Result<Bytes>& signature, bool went_through) {
          ASSERT_TRUE(signature || !went_through);
          EXPECT_TRUE(!signature || verifies(credential->leaf(), message, *signature));
        });
    const Bytes good = *credential->sign(message);
    Bytes bad = good;
    bad.back() ^= std::byte{1};
    with_each_failing(
        nothing, [&](int) { return verifies(credential->leaf(), message, bad); },
        [](bool believed, bool) { EXPECT_FALSE(believed); });
    EXPECT_TRUE(verifies(credential->leaf(), message, good));
  }
}

// What a chain is to be checked by, made anew as OpenSSL remembers what it has found out.
struct Question {
  std::vector<Certificate> chain;
  Trust trust;
};

TEST_F(Memory, believes_no_chain_that_it_would_refuse_otherwise) {
  ASSERT_TRUE(people_->files().run("revoke ca stray.pem; lists ca"));
  struct Case {
    const char* file;
    const char* name;
    Purpose purpose;
    Verdict verdict;
  };
  for (const Case& one : {Case{"server.pem", "log", Purpose::server, Verdict::ok},
                          Case{"stray.pem", "mail", Purpose::server, Verdict::revoked},
                          Case{"server.pem", "mail", Purpose::server, Verdict::wrong_name},
                          Case{"client.pem", "log", Purpose::server, Verdict::wrong_purpose},
                          Case{"stranger.pem", "log", Purpose::server, Verdict::untrusted}}) {
    const auto prepare = [&] {
      Question question{.chain = *parse_certificates(read(one.file)), .trust = {}};
      EXPECT_TRUE(question.trust.add_authorities(read("ca.pem")));
      EXPECT_TRUE(question.trust.add_revocations(read("ca.crl")));
      return question;
    };
    with_each_failing(
        prepare,
        [&](const Question& question) {
          return verify_chain(question.chain, question.trust, one.name, one.purpose,
                              moment().calendar);
        },
        [&](Verdict verdict, bool went_through) {
          EXPECT_TRUE(!went_through || verdict == one.verdict) << one.file << one.name;
          EXPECT_TRUE(one.verdict == Verdict::ok || verdict != Verdict::ok) << one.file << one.name;
        });
  }
}

TEST_F(Memory, takes_in_authorities_and_lists_whole_or_not) {
  ASSERT_TRUE(people_->files().run("lists ca"));
  const std::string authorities = read("ca.pem");
  const std::string lists = read("ca.crl");
  with_each_failing([] { return Trust(); },
                    [&](Trust& trust) {
                      return trust.add_authorities(authorities).has_value() &&
                             trust.add_intermediates(authorities).has_value() &&
                             trust.add_revocations(lists).has_value();
                    },
                    [](bool added, bool went_through) { EXPECT_TRUE(added || !went_through); }, 4);
  Trust trust;
  ASSERT_TRUE(trust.add_authorities(authorities) && trust.add_revocations(lists));
  Trust whole;
  ASSERT_TRUE(whole.add(trust, Trust::Share::all));
  struct Added {
    bool all;
    Bytes mark;
  };
  with_each_failing([] { return Trust(); },
                    [&](Trust& other) {
                      const bool all = other.add(trust, Trust::Share::all).has_value();
                      return Added{.all = all, .mark = copy(other.mark())};
                    },
                    [&](const Added& added, bool went_through) {
                      EXPECT_TRUE(added.all || !went_through);
                      // Less is never taken for the same; more is at worst unknown.
                      EXPECT_TRUE(added.all || !std::ranges::equal(added.mark, whole.mark()));
                      EXPECT_TRUE(!went_through || std::ranges::equal(added.mark, whole.mark()));
                    });
}

// ---- a handshake

void expect_right(const Session& session, const Session& other) {
  EXPECT_TRUE(session.authenticated && !session.subject.empty());
  EXPECT_EQ(session.choice, other.choice);
  EXPECT_TRUE(std::ranges::equal(session.sending.bytes(), other.receiving.bytes()));
  EXPECT_TRUE(std::ranges::equal(session.receiving.bytes(), other.sending.bytes()));
}

TEST_F(Memory, begins_a_handshake_that_can_be_answered_or_none) {
  with_each_failing(
      nothing, [&](int) { return Initiator::start(client(), moment()); },
      [&](const std::expected<Initiator, Refused>& initiator, bool went_through) {
        ASSERT_TRUE(initiator || !went_through);
        if (initiator) {
          const auto answered = answer(initiator->request(), server());
          ASSERT_TRUE(answered);
          const auto session = initiator->finish(answered->bytes, moment());
          ASSERT_TRUE(session);
          expect_right(*session, answered->session);
        }
      });
}

TEST_F(Memory, answers_a_request_rightly_or_not_and_the_next_one_all_the_same) {
  with_each_failing(
      [] { return start(client()); },
      [&](const Initiator& initiator) { return answer(initiator.request(), server()); },
      [&](const std::expected<Response, Refused>& answered, bool went_through) {
        ASSERT_TRUE(answered || !went_through);
        EXPECT_TRUE(!answered || answered->session.authenticated);
        EXPECT_TRUE(!answered || !answered->session.subject.empty());
        const Initiator next = start(client());
        EXPECT_TRUE(answer(next.request(), server()));
      },
      3);
}

TEST_F(Memory, answers_nobody_whom_it_does_not_know) {
  Party estranged = server();
  estranged.trust = &people_->strangers;
  const Initiator initiator = start(client());
  with_each_failing(
      nothing, [&](int) { return answer(initiator.request(), estranged).has_value(); },
      [](bool answered, bool) { EXPECT_FALSE(answered); });
  Party borrowed = client();
  borrowed.credential = people_->server.get();
  const Initiator impostor = start(borrowed);
  with_each_failing(
      nothing, [&](int) { return answer(impostor.request(), server()).has_value(); },
      [](bool answered, bool) { EXPECT_FALSE(answered); });
  EXPECT_TRUE(answer(initiator.request(), server()));
}

TEST_F(Memory, ends_a_handshake_rightly_or_not) {
  const Initiator initiator = start(client());
  const auto answered = answer(initiator.request(), server());
  ASSERT_TRUE(answered);
  with_each_failing(
      nothing, [&](int) { return initiator.finish(answered->bytes, moment()); },
      [&](const std::expected<Session, Refused>& session, bool went_through) {
        ASSERT_TRUE(session || !went_through);
        if (session) {
          expect_right(*session, answered->session);
        }
      },
      2);
  Bytes forgery = answered->bytes;
  forgery.back() ^= std::byte{1};
  with_each_failing(
      nothing, [&](int) { return initiator.finish(forgery, moment()).has_value(); },
      [](bool believed, bool) { EXPECT_FALSE(believed); }, 3);
}

// Of each family one; of the finite fields none, which take too long for so many tries.
TEST_F(Memory, gives_both_sides_of_a_key_exchange_one_secret_or_none) {
  const ServerKey key;
  for (const KeyExchange kind :
       {KeyExchange::x25519, KeyExchange::p256, KeyExchange::x25519_ml_kem_768,
        KeyExchange::x25519_ml_kem_768_client}) {
    if (!available(kind)) {
      continue;
    }
    const KeyExchangeInfo& info = *find(kind);
    const auto whole = [&]() -> Result<bool> {
      const auto offered = EphemeralKey::generate(info.code, key.known());
      if (!offered) {
        return std::unexpected(offered.error());
      }
      const auto answered = answer_offer(info.code, offered->offer(), key.own());
      if (!answered) {
        return std::unexpected(answered.error());
      }
      const auto secret = offered->finish(answered->share);
      if (!secret) {
        return std::unexpected(secret.error());
      }
      return std::ranges::equal(secret->bytes(), answered->secret.bytes());
    };
    with_each_failing(
        nothing, [&](int) { return whole(); },
        [&](const Result<bool>& same, bool went_through) {
          EXPECT_TRUE(same || !went_through) << info.name;
          EXPECT_TRUE(!same || *same) << info.name;
        });
  }
}

// ---- records

constexpr Choice kChoice{.key_exchange = KeyExchange::x25519,
                         .cipher = Cipher::chacha20_poly1305,
                         .kdf = Kdf::hkdf,
                         .digest = Digest::sha256};

struct Ends {
  RecordSealer sealer;
  RecordOpener opener;
};

// Every record begins an epoch, which is when there are allocations.
TEST_F(Memory, seals_with_no_number_twice_and_opens_what_was_sealed) {
  RekeyLimits limits;
  limits.records = 1;
  const auto prepare = [&] {
    return Ends{*RecordSealer::create(kChoice, Secret(32), Instant{}, limits),
                *RecordOpener::create(kChoice, Secret(32), limits)};
  };
  const Bytes plain = counting(0, 20);
  with_each_failing(
      prepare,
      [&](Ends& ends) {
        std::set<Bytes> headers;
        for (int i = 0; i < 4; ++i) {
          Bytes record(plain.size() + kRecordOverhead);
          Bytes out(plain.size());
          if (ends.sealer.seal(plain, record, Instant{}) != RecordSealer::Outcome::ok) {
            continue;
          }
          EXPECT_TRUE(headers.insert(copy(View(record).first(kRecordHeader))).second);
          const auto outcome = ends.opener.open(record, out, Instant{});
          EXPECT_EQ(outcome == RecordOpener::Outcome::ok, out == plain);
        }
        return headers.size();
      },
      [](std::size_t sealed, bool went_through) { EXPECT_TRUE(sealed == 4 || !went_through); });
}

// ---- files

TEST_F(Memory, reads_a_policy_as_it_stands_or_not_at_all) {
  const std::string text = "authenticate = \"mutual\"\nrequire-pq = true\nencrypt = \"require\"\n";
  with_each_failing(
      nothing, [&](int) { return parse_policy(text); },
      [](const auto& policy, bool went_through) {
        EXPECT_TRUE(policy || !went_through);
        EXPECT_TRUE(!policy || (policy->require_pq && policy->encrypt == Encrypt::require &&
                                policy->authenticate == Authenticate::mutual));
      });
}

TEST_F(Memory, reads_a_security_folder_again_where_it_could_not) {
  const OpensslCommand& files = people_->files();
  ASSERT_TRUE(files.run(
      "mkdir -p held/cacert held/server/log; cp ca.pem held/cacert; chmod -R go= held\n"
      "cp server.pem held/server/log/crt.pem; install -m 600 server.key held/server/log/key.pem\n"
      "echo 'encrypt = \"require\"' >held/server/log/enc.toml\n"));
  SecurityFolder folder(files.path("held"), [](const Complaint&) {});
  Instant now = Clock::now();
  const auto later = [&now] { return now += SecurityFolder::kLookAgain; };
  const auto is_whole = [](const Result<NameSecurity>& found) {
    return found && found->credential && found->policy &&
           found->policy->encrypt == Encrypt::require;
  };
  with_each_failing(
      nothing,
      [&](int) { return std::pair(folder.of(Side::server, "log", later()), folder.trust(now)); },
      [&](const auto& found, bool went_through) {
        EXPECT_TRUE(!went_through || (found.first && found.second));
        EXPECT_TRUE(!found.first || is_whole(found.first));
        const auto trust = folder.trust(later());
        EXPECT_TRUE(trust && (*trust)->authorities() == 1);
        EXPECT_TRUE(is_whole(folder.of(Side::server, "log", now)));
      });
}

TEST_F(Memory, issues_what_verifies_or_nothing) {
  const Validity validity{.from = moment().calendar - 60, .days = 1};
  const auto authority = make_authority("test", validity);
  ASSERT_TRUE(authority);
  const Request request{.name = "log", .hosts = {"host"}, .common_name = "log"};
  Trust trust;
  ASSERT_TRUE(trust.add_authorities(authority->certificate));
  with_each_failing(
      nothing,
      [&](int) {
        return issue(authority->certificate, text_of(authority->key), request, validity);
      },
      [&](const Result<Issued>& issued, bool went_through) {
        ASSERT_TRUE(issued || !went_through);
        if (issued) {
          const auto chain = parse_certificates(issued->certificate);
          ASSERT_TRUE(chain);
          EXPECT_EQ(verify_chain(*chain, trust, "log", Purpose::server, moment().calendar),
                    Verdict::ok);
        }
      },
      19);
}

}  // namespace
}  // namespace flowfs::auth
