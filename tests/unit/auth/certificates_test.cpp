// SPDX-License-Identifier: BSD-3-Clause
#include "auth/certificates.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <expected>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "auth/known_chains.hpp"
#include "openssl_command.hpp"

namespace flowfs::auth {
namespace {

constexpr std::time_t kDay = 24 * 3600;

// Everything that the cases below need, made once.
constexpr const char* kScript = R"(
server='subjectAltName=DNS:log\nextendedKeyUsage=serverAuth\n'
client='subjectAltName=URI:flowfs:log\nextendedKeyUsage=clientAuth\n'
signer='basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n'
authority ca
authority stranger
certificate server ca "$server"
certificate uri ca 'subjectAltName=URI:flowfs:log\nextendedKeyUsage=serverAuth\n'
certificate both ca 'subjectAltName=DNS:log\nextendedKeyUsage=serverAuth,clientAuth\n'
certificate client ca "$client"
certificate lasting ca "$server" -days 60
certificate foreign stranger "$server"
certificate stolen ca "$server"
certificate other ca 'subjectAltName=DNS:blog,URI:flowfs:logs,URI:log\nextendedKeyUsage=serverAuth\n'
certificate capital ca 'subjectAltName=DNS:LOG\nextendedKeyUsage=serverAuth\n'
certificate wild ca 'subjectAltName=DNS:*\nextendedKeyUsage=serverAuth\n'
certificate log ca 'extendedKeyUsage=serverAuth\n'
certificate purposeless ca 'subjectAltName=DNS:log\n'
certificate encipherer ca "${server}keyUsage=keyEncipherment\n"
certificate mail ca 'subjectAltName=DNS:log\nextendedKeyUsage=emailProtection\n'
certificate outdated ca "$server" -sha1
key weak.key RSA -pkeyopt rsa_keygen_bits:1024
certificate weak ca "$server"
key curve.key EC -pkeyopt ec_paramgen_curve:secp256k1
certificate curve ca "$server"
certificate middle ca "$signer"
certificate below middle "$server"
certificate fake both "$server"
above=middle
for i in 1 2 3 4; do certificate "middle$i" "$above" "$signer"; above=middle$i; done
certificate deep3 middle3 "$server"
certificate deep4 middle4 "$server"
cat deep4.pem middle4.pem middle3.pem middle2.pem middle1.pem middle.pem >deep4.chain
cat deep3.pem middle.pem middle1.pem middle3.pem middle2.pem >deep3.chain
revoke ca stolen.pem
lists ca
revoke middle below.pem
lists middle
lists stranger
)";

class CertificatesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = std::make_unique<OpensslCommand>();
    ASSERT_TRUE(files_->run(kScript));
    now_ = std::time(nullptr);
  }
  static void TearDownTestSuite() { files_.reset(); }

  void SetUp() override { ASSERT_TRUE(trust_.add_authorities(read("ca.pem"))); }

  static std::string read(const std::string& file) { return files_->read(file); }

  Verdict verify(const std::string& file, Purpose purpose = Purpose::server,
                 std::time_t after = 60) {
    const auto chain = parse_certificates(read(file));
    EXPECT_TRUE(chain) << file;
    return chain ? verify_chain(*chain, trust_, "log", purpose, now_ + after) : Verdict::refused;
  }

  static std::unique_ptr<OpensslCommand> files_;
  static std::time_t now_;
  Trust trust_;
};

std::unique_ptr<OpensslCommand> CertificatesTest::files_;
std::time_t CertificatesTest::now_;

TEST_F(CertificatesTest, accepts_what_an_authority_signed_for_the_name_and_the_purpose) {
  EXPECT_EQ(verify("server.pem"), Verdict::ok);
  EXPECT_EQ(verify("uri.pem"), Verdict::ok);
  EXPECT_EQ(verify("both.pem"), Verdict::ok);
  EXPECT_EQ(verify("both.pem", Purpose::client), Verdict::ok);
  EXPECT_EQ(verify("client.pem", Purpose::client), Verdict::ok);
}

TEST_F(CertificatesTest, refuses_an_authority_it_was_not_told_of) {
  EXPECT_EQ(verify("foreign.pem"), Verdict::untrusted);
  EXPECT_EQ(verify("stranger.pem"), Verdict::untrusted);
  trust_ = Trust();
  EXPECT_EQ(verify("server.pem"), Verdict::untrusted);
}

TEST_F(CertificatesTest, refuses_no_certificate_at_all) {
  EXPECT_EQ(verify_chain({}, trust_, "log", Purpose::server, now_), Verdict::no_certificate);
}

TEST_F(CertificatesTest, refuses_outside_the_time_it_is_valid) {
  EXPECT_EQ(verify("server.pem", Purpose::server, 9 * kDay), Verdict::ok);
  EXPECT_EQ(verify("server.pem", Purpose::server, 11 * kDay), Verdict::expired);
  EXPECT_EQ(verify("server.pem", Purpose::server, -kDay), Verdict::not_yet_valid);
}

TEST_F(CertificatesTest, refuses_what_was_revoked) {
  EXPECT_EQ(verify("stolen.pem"), Verdict::ok);  // nobody has said so yet
  ASSERT_TRUE(trust_.add_revocations(read("ca.crl")));
  EXPECT_EQ(verify("stolen.pem"), Verdict::revoked);
  EXPECT_EQ(verify("server.pem"), Verdict::ok);
}

TEST_F(CertificatesTest, refuses_where_the_list_is_not_in_force) {
  ASSERT_TRUE(trust_.add_revocations(read("middle.crl")));
  EXPECT_EQ(verify("server.pem"), Verdict::ok);  // not the list of its authority
  ASSERT_TRUE(trust_.add_revocations(read("ca.crl")));
  EXPECT_EQ(verify("lasting.pem"), Verdict::ok);
  EXPECT_EQ(verify("lasting.pem", Purpose::server, 25 * kDay), Verdict::stale_revocations);
}

TEST_F(CertificatesTest, looks_at_the_lists_of_authorities_between) {
  ASSERT_TRUE(trust_.add_intermediates(read("middle.pem")));
  EXPECT_EQ(verify("below.pem"), Verdict::ok);
  ASSERT_TRUE(trust_.add_revocations(read("ca.crl")));
  EXPECT_EQ(verify("below.pem"), Verdict::ok);
  ASSERT_TRUE(trust_.add_revocations(read("middle.crl")));
  EXPECT_EQ(verify("below.pem"), Verdict::revoked);
}

TEST_F(CertificatesTest, ignores_the_list_of_another_authority) {
  ASSERT_TRUE(trust_.add_revocations(read("stranger.crl")));
  EXPECT_EQ(verify("server.pem"), Verdict::ok);
}

TEST_F(CertificatesTest, refuses_another_name) {
  EXPECT_EQ(verify("other.pem"), Verdict::wrong_name);
  EXPECT_EQ(verify("capital.pem"), Verdict::wrong_name);
  EXPECT_EQ(verify("wild.pem"), Verdict::wrong_name);
}

TEST_F(CertificatesTest, refuses_a_name_that_is_only_the_common_name) {
  EXPECT_EQ(verify("log.pem"), Verdict::only_common_name);
}

TEST_F(CertificatesTest, refuses_another_purpose) {
  EXPECT_EQ(verify("client.pem"), Verdict::wrong_purpose);
  EXPECT_EQ(verify("server.pem", Purpose::client), Verdict::wrong_purpose);
  EXPECT_EQ(verify("mail.pem"), Verdict::wrong_purpose);
}

TEST_F(CertificatesTest, refuses_a_leaf_that_does_not_say_what_it_is_for) {
  EXPECT_EQ(verify("purposeless.pem"), Verdict::wrong_purpose);
  EXPECT_EQ(verify("encipherer.pem"), Verdict::wrong_purpose);
}

TEST_F(CertificatesTest, completes_a_chain_from_the_intermediates) {
  EXPECT_EQ(verify("below.pem"), Verdict::untrusted);
  ASSERT_TRUE(trust_.add_intermediates(read("middle.pem")));
  EXPECT_EQ(verify("below.pem"), Verdict::ok);
}

TEST_F(CertificatesTest, believes_no_intermediate_by_itself) {
  Trust lonely;
  ASSERT_TRUE(lonely.add_intermediates(read("middle.pem") + read("ca.pem")));
  const auto chain = parse_certificates(read("below.pem"));
  ASSERT_TRUE(chain);
  EXPECT_EQ(verify_chain(*chain, lonely, "log", Purpose::server, now_), Verdict::untrusted);
}

TEST_F(CertificatesTest, refuses_what_a_leaf_has_signed) {
  ASSERT_TRUE(trust_.add_intermediates(read("both.pem")));
  const Verdict verdict = verify("fake.pem");
  EXPECT_THAT(verdict, testing::AnyOf(Verdict::not_an_authority, Verdict::untrusted));
}

TEST_F(CertificatesTest, bounds_the_depth) {
  EXPECT_EQ(verify("deep3.chain"), Verdict::ok);
  EXPECT_EQ(verify("deep4.chain"), Verdict::too_deep);
  std::vector<Certificate> many;
  const auto chain = parse_certificates(read("server.pem"));
  ASSERT_TRUE(chain);
  for (std::size_t i = 0; i <= kLongestChain; ++i) {
    many.push_back(chain->front().share());
  }
  EXPECT_EQ(verify_chain(many, trust_, "log", Purpose::server, now_ + 60), Verdict::too_deep);
}

TEST_F(CertificatesTest, refuses_weak_keys_and_signatures) {
  EXPECT_EQ(verify("weak.pem"), Verdict::weak_key);
  EXPECT_EQ(verify("curve.pem"), Verdict::weak_key);
  EXPECT_EQ(verify("outdated.pem"), Verdict::weak_key);
}

TEST_F(CertificatesTest, refuses_every_certificate_with_a_bit_flipped) {
  const auto good = parse_certificates(read("server.pem"));
  ASSERT_TRUE(good);
  const Bytes der = good->front().der();
  std::set<Verdict> seen;
  for (std::size_t at = 0; at < der.size(); ++at) {
    Bytes spoiled = der;
    spoiled[at] ^= std::byte{1};
    auto certificate = Certificate::from_der(spoiled);
    if (!certificate) {
      continue;
    }
    const Verdict verdict =
        verify_chain(std::span(&*certificate, 1), trust_, "log", Purpose::server, now_ + 60);
    EXPECT_NE(verdict, Verdict::ok) << "byte " << at;
    seen.insert(verdict);
  }
  EXPECT_TRUE(seen.contains(Verdict::bad_signature));
}

TEST_F(CertificatesTest, takes_all_of_a_text_or_nothing) {
  const std::string text = read("stranger.pem");
  EXPECT_FALSE(trust_.add_authorities(text + text.substr(0, text.size() / 2)));
  EXPECT_EQ(trust_.authorities(), 1U);
  EXPECT_EQ(verify("foreign.pem"), Verdict::untrusted);
  const std::string list = read("ca.crl");
  EXPECT_EQ(trust_.add_revocations(list + list.substr(0, list.size() / 2)).error().error, EBADMSG);
  EXPECT_EQ(trust_.add_revocations(text).error().error, ENOKEY);
  EXPECT_EQ(trust_.add_revocations(std::string(kLongestPem + 1, '\n')).error().error, EFBIG);
  EXPECT_EQ(verify("stolen.pem"), Verdict::ok);
}

TEST_F(CertificatesTest, joins_with_what_another_one_believes) {
  Trust other;
  ASSERT_TRUE(other.add_authorities(read("stranger.pem")));
  ASSERT_TRUE(other.add_intermediates(read("middle.pem")));
  ASSERT_TRUE(other.add_revocations(read("ca.crl")));
  ASSERT_TRUE(trust_.add(other, Trust::Share::no_authorities));
  EXPECT_EQ(trust_.authorities(), 1U);
  EXPECT_EQ(verify("below.pem"), Verdict::ok);
  EXPECT_EQ(verify("stolen.pem"), Verdict::revoked);
  EXPECT_EQ(verify("foreign.pem"), Verdict::untrusted);
  ASSERT_TRUE(trust_.add(other, Trust::Share::all));
  EXPECT_EQ(trust_.authorities(), 2U);
  EXPECT_EQ(verify("foreign.pem"), Verdict::ok);
}

// ---- chains that are known

class KnownChainsTest : public CertificatesTest {
 protected:
  static std::vector<Bytes> chain_of(const std::string& file) {
    const auto parsed = parse_certificates(read(file));
    EXPECT_TRUE(parsed) << file;
    std::vector<Bytes> chain;
    for (const Certificate& certificate : *parsed) {
      chain.push_back(certificate.der());
    }
    return chain;
  }
  std::expected<Certificate, Verdict> check(const std::string& file, std::time_t after = 60,
                                            Purpose purpose = Purpose::server) {
    return known_.check(chain_of(file), trust_, "log", purpose, now_ + after);
  }
  Verdict verdict(const std::string& file, std::time_t after = 60,
                  Purpose purpose = Purpose::server) {
    const auto leaf = check(file, after, purpose);
    return leaf ? Verdict::ok : leaf.error();
  }

  KnownChains known_{2};
};

TEST_F(KnownChainsTest, are_not_read_again) {
  const auto first = check("server.pem");
  const auto again = check("server.pem", kDay);
  ASSERT_TRUE(first && again);
  EXPECT_EQ(first->get(), again->get());
  EXPECT_EQ(known_.size(), 1U);
}

TEST_F(KnownChainsTest, are_good_for_as_long_as_each_certificate_is_valid) {
  ASSERT_EQ(verdict("server.pem"), Verdict::ok);
  EXPECT_EQ(verdict("server.pem", 9 * kDay), Verdict::ok);
  EXPECT_EQ(verdict("server.pem", 11 * kDay), Verdict::expired);
  EXPECT_EQ(verdict("server.pem", -kDay), Verdict::not_yet_valid);
  ASSERT_EQ(verdict("lasting.pem"), Verdict::ok);
  EXPECT_EQ(verdict("lasting.pem", 59 * kDay), Verdict::ok);
}

TEST_F(KnownChainsTest, are_good_for_as_long_as_the_lists_are_in_force) {
  ASSERT_TRUE(trust_.add_revocations(read("ca.crl")));
  ASSERT_EQ(verdict("lasting.pem"), Verdict::ok);
  EXPECT_EQ(verdict("lasting.pem", 25 * kDay), Verdict::stale_revocations);
}

TEST_F(KnownChainsTest, are_refused_once_they_are_revoked) {
  ASSERT_EQ(verdict("stolen.pem"), Verdict::ok);
  ASSERT_TRUE(trust_.add_revocations(read("ca.crl")));
  EXPECT_EQ(verdict("stolen.pem"), Verdict::revoked);
}

TEST_F(KnownChainsTest, are_known_for_their_name_purpose_and_authorities_alone) {
  ASSERT_EQ(verdict("server.pem"), Verdict::ok);
  EXPECT_EQ(verdict("server.pem", 60, Purpose::client), Verdict::wrong_purpose);
  const auto chain = chain_of("server.pem");
  EXPECT_EQ(known_.check(chain, trust_, "mail", Purpose::server, now_ + 60).error(),
            Verdict::wrong_name);
  Trust other;
  ASSERT_TRUE(other.add_authorities(read("stranger.pem")));
  EXPECT_EQ(known_.check(chain, other, "log", Purpose::server, now_ + 60).error(),
            Verdict::untrusted);
  // One that was put together in the same way believes the same.
  Trust same;
  ASSERT_TRUE(same.add_authorities(read("ca.pem")));
  const auto leaf = known_.check(chain, same, "log", Purpose::server, now_ + 60);
  ASSERT_TRUE(leaf);
  EXPECT_EQ(leaf->get(), check("server.pem")->get());
}

TEST_F(KnownChainsTest, are_only_those_that_were_found_good) {
  EXPECT_EQ(verdict("other.pem"), Verdict::wrong_name);
  EXPECT_EQ(verdict("foreign.pem"), Verdict::untrusted);
  EXPECT_EQ(known_.check({}, trust_, "log", Purpose::server, now_).error(),
            Verdict::no_certificate);
  const std::vector<Bytes> junk{Bytes(100)};
  EXPECT_EQ(known_.check(junk, trust_, "log", Purpose::server, now_).error(), Verdict::malformed);
  EXPECT_EQ(known_.size(), 0U);
}

TEST_F(KnownChainsTest, are_forgotten_before_there_are_too_many) {
  for (const char* const file : {"server.pem", "uri.pem", "both.pem"}) {
    EXPECT_EQ(verdict(file), Verdict::ok);
    EXPECT_LE(known_.size(), 2U);
  }
  EXPECT_EQ(known_.size(), 1U);
  EXPECT_EQ(verdict("server.pem"), Verdict::ok);
}

TEST(Verdicts, have_words_and_an_errno_each) {
  std::set<std::string_view> names;
  std::set<std::string_view> words;
  for (const VerdictInfo& verdict : all(Verdict{})) {
    EXPECT_EQ(&info(verdict.code), &verdict);
    names.insert(verdict.name);
    words.insert(verdict.words);
    EXPECT_EQ(verdict.error == 0, verdict.code == Verdict::ok);
  }
  EXPECT_EQ(names.size(), all(Verdict{}).size());
  EXPECT_EQ(words.size(), all(Verdict{}).size());
  EXPECT_EQ(info(Verdict::expired).error, EKEYEXPIRED);
  EXPECT_EQ(info(Verdict::revoked).error, EKEYREVOKED);
  EXPECT_EQ(info(Verdict::no_certificate).error, ENOKEY);
  EXPECT_EQ(info(Verdict::untrusted).error, EKEYREJECTED);
}

}  // namespace
}  // namespace flowfs::auth
