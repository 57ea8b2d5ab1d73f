// SPDX-License-Identifier: BSD-3-Clause
#include "auth/credentials.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "openssl_command.hpp"

namespace flowfs::auth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Kind {
  const char* name;
  const char* algorithm;
};

void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

constexpr Kind kKinds[] = {
    {"rsa", "RSA -pkeyopt rsa_keygen_bits:2048"},
    {"p256", "EC -pkeyopt ec_paramgen_curve:P-256"},
    {"p384", "EC -pkeyopt ec_paramgen_curve:P-384"},
    {"p521", "EC -pkeyopt ec_paramgen_curve:P-521"},
    {"ed25519", "ED25519"},
    {"ed448", "ED448"},
};

View view(std::string_view text) { return std::as_bytes(std::span(text)); }

class CredentialsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = std::make_unique<OpensslCommand>();
    std::string script = "authority ca\n";
    for (const Kind& kind : kKinds) {
      const std::string name = kind.name;
      script += "key " + name + ".key " + kind.algorithm + "\ncertificate " + name +
                " ca 'subjectAltName=DNS:log,URI:flowfs:audit,URI:https://x,IP:10.0.0.1\\n'\n";
    }
    script +=
        "key weak.key RSA -pkeyopt rsa_keygen_bits:1024\n"
        "key curve.key EC -pkeyopt ec_paramgen_curve:secp256k1\n"
        "key other.key X25519\n"
        "openssl pkey -in p256.key -aes128 -passout pass:secret -out encrypted.key\n"
        "openssl ec -in p256.key -aes128 -passout pass:secret -out older.key\n"
        "openssl ec -in p256.key -out sec1.key\n"
        "openssl x509 -in p256.pem -outform der -out p256.der\n"
        "cat p256.pem ca.pem >chain.pem\n";
    ASSERT_TRUE(files_->run(script));
  }
  static void TearDownTestSuite() { files_.reset(); }

  static std::string read(const std::string& file) { return files_->read(file); }
  static Failure refused_key(std::string_view text) {
    const Result<PrivateKey> key = PrivateKey::parse(text);
    EXPECT_FALSE(key.has_value());
    return key ? Failure{} : key.error();
  }
  static Failure refused_certificates(std::string_view text) {
    const auto certificates = parse_certificates(text);
    EXPECT_FALSE(certificates.has_value());
    return certificates ? Failure{} : certificates.error();
  }

  static std::unique_ptr<OpensslCommand> files_;
};

std::unique_ptr<OpensslCommand> CredentialsTest::files_;

class EveryKind : public CredentialsTest, public testing::WithParamInterface<Kind> {};

TEST_P(EveryKind, signs_what_only_its_certificate_verifies) {
  const std::string name = GetParam().name;
  const auto credential = Credential::parse(read(name + ".pem"), read(name + ".key"));
  ASSERT_TRUE(credential) << credential.error().message();
  const auto signature = credential->sign(view("message"));
  ASSERT_TRUE(signature) << signature.error().message();
  EXPECT_TRUE(credential->leaf().verify_signature(view("message"), *signature));
  EXPECT_FALSE(credential->leaf().verify_signature(view("massage"), *signature));
  Bytes spoiled = *signature;
  spoiled.back() ^= std::byte{1};
  EXPECT_FALSE(credential->leaf().verify_signature(view("message"), spoiled));
  spoiled.clear();
  EXPECT_FALSE(credential->leaf().verify_signature(view("message"), spoiled));
  const auto other = parse_certificates(read("ca.pem"));
  ASSERT_TRUE(other);
  EXPECT_FALSE(other->front().verify_signature(view("message"), *signature));
}

TEST_P(EveryKind, signs_what_the_openssl_command_verifies) {
  const std::string name = GetParam().name;
  const auto credential = Credential::parse(read(name + ".pem"), read(name + ".key"));
  ASSERT_TRUE(credential) << credential.error().message();
  const auto signature = credential->sign(view("message"));
  ASSERT_TRUE(signature);
  files_->write("message", "message");
  files_->write("signature",
                std::string(reinterpret_cast<const char*>(signature->data()), signature->size()));
  const std::string digest = name == "rsa"    ? "-digest sha256 -pkeyopt rsa_padding_mode:pss "
                                                "-pkeyopt rsa_pss_saltlen:digest"
                             : name == "p256" ? "-digest sha256"
                             : name == "p384" ? "-digest sha384"
                             : name == "p521" ? "-digest sha512"
                                              : "";
  EXPECT_TRUE(files_->run("openssl pkeyutl -verify -certin -inkey " + name +
                          ".pem -rawin -in message -sigfile signature " + digest));
}

INSTANTIATE_TEST_SUITE_P(Keys, EveryKind, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string(kind.param.name); });

TEST_F(CredentialsTest, keeps_the_order_of_a_chain) {
  const auto credential = Credential::parse(read("chain.pem"), read("p256.key"));
  ASSERT_TRUE(credential) << credential.error().message();
  ASSERT_EQ(credential->chain().size(), 2U);
  EXPECT_EQ(credential->leaf().subject(), "CN=p256");
  EXPECT_EQ(credential->chain().back().subject(), "CN=ca");
}

TEST_F(CredentialsTest, lists_names_of_hosts_and_of_flows_alone) {
  const auto certificates = parse_certificates(read("p256.pem"));
  ASSERT_TRUE(certificates);
  EXPECT_THAT(certificates->front().alternative_names(),
              ElementsAre("DNS:log", "URI:flowfs:audit"));
}

TEST_F(CredentialsTest, gives_back_the_bytes_it_was_made_of) {
  const std::string text = read("p256.der");
  const auto certificate = Certificate::from_der(view(text));
  ASSERT_TRUE(certificate) << certificate.error().message();
  EXPECT_TRUE(std::ranges::equal(certificate->der(), view(text)));
  EXPECT_TRUE(std::ranges::equal(certificate->share().der(), view(text)));
}

TEST_F(CredentialsTest, refuses_a_certificate_cut_short_anywhere) {
  const std::string text = read("p256.der");
  for (std::size_t size = 0; size < text.size(); ++size) {
    ASSERT_FALSE(Certificate::from_der(view(text).first(size))) << size;
  }
  EXPECT_FALSE(Certificate::from_der(view(text + "x")));
}

TEST_F(CredentialsTest, takes_keys_of_the_older_form) {
  EXPECT_TRUE(Credential::parse(read("p256.pem"), read("sec1.key")));
}

TEST_F(CredentialsTest, refuses_an_encrypted_key_without_a_prompt) {
  for (const char* const file : {"encrypted.key", "older.key"}) {
    const Failure failure = refused_key(read(file));
    EXPECT_EQ(failure.error, EKEYREJECTED);
    EXPECT_THAT(failure.context, HasSubstr("encrypted")) << file;
  }
}

TEST_F(CredentialsTest, refuses_keys_of_other_kinds_and_lengths) {
  for (const char* const file : {"weak.key", "curve.key", "other.key"}) {
    const Failure failure = refused_key(read(file));
    EXPECT_EQ(failure.error, EKEYREJECTED) << file;
    EXPECT_THAT(failure.context, HasSubstr("kind or length")) << file;
  }
}

TEST_F(CredentialsTest, refuses_the_key_of_another_certificate) {
  for (const char* const file : {"ca.key", "rsa.key"}) {
    const auto credential = Credential::parse(read("p256.pem"), read(file));
    ASSERT_FALSE(credential);
    EXPECT_EQ(credential.error().error, EKEYREJECTED);
    EXPECT_THAT(credential.error().context, HasSubstr("not that of"));
  }
}

TEST_F(CredentialsTest, refuses_text_that_is_no_key) {
  EXPECT_EQ(refused_key("").error, ENOKEY);
  EXPECT_EQ(refused_key(read("p256.pem")).error, ENOKEY);
  const std::string key = read("p256.key");
  EXPECT_EQ(refused_key(std::string_view(key).substr(0, key.size() / 2)).error, EBADMSG);
  EXPECT_EQ(refused_key(key + std::string(kLongestPem, '\n')).error, EFBIG);
}

TEST_F(CredentialsTest, refuses_text_that_is_no_certificate) {
  EXPECT_EQ(refused_certificates("").error, ENOKEY);
  EXPECT_EQ(refused_certificates(read("p256.key")).error, ENOKEY);
  const std::string text = read("p256.pem");
  EXPECT_EQ(refused_certificates(std::string_view(text).substr(0, text.size() / 2)).error, EBADMSG);
  EXPECT_EQ(refused_certificates(text + text.substr(0, text.size() / 2)).error, EBADMSG);
  EXPECT_EQ(refused_certificates(text + std::string(kLongestPem, '\n')).error, EFBIG);
}

TEST_F(CredentialsTest, refuses_more_certificates_than_a_chain_has) {
  std::string text;
  for (std::size_t i = 0; i < kLongestChain; ++i) {
    text += read("p256.pem");
  }
  EXPECT_TRUE(parse_certificates(text));
  EXPECT_EQ(refused_certificates(text + read("p256.pem")).error, EFBIG);
}

}  // namespace
}  // namespace flowfs::auth
