// SPDX-License-Identifier: BSD-3-Clause
#include "auth/issue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <string>

#include "auth/credentials.hpp"
#include "auth/guarded_folder.hpp"
#include "openssl_command.hpp"

namespace flowfs::auth {
namespace {

constexpr std::time_t kDay = 24 * 3600;

class IssueTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = make_authority("test", {.from = now_ - 60, .days = 100});
    ASSERT_TRUE(made) << made.error().message();
    authority_ = std::move(*made);
    ASSERT_TRUE(trust_.add_authorities(authority_.certificate));
  }
  Result<Issued> certificate(const std::string& name, Purpose purpose = Purpose::server,
                             std::vector<std::string> hosts = {}) {
    return issue(authority_.certificate, text_of(authority_.key),
                 {.name = name, .hosts = std::move(hosts), .purpose = purpose, .common_name = name},
                 {.from = now_ - 60, .days = 10});
  }
  Verdict verify(const Issued& issued, std::string_view name, Purpose purpose = Purpose::server,
                 std::time_t after = 0) {
    const auto chain = parse_certificates(issued.certificate);
    return chain ? verify_chain(*chain, trust_, name, purpose, now_ + after) : Verdict::malformed;
  }

  std::time_t now_ = std::time(nullptr);
  Issued authority_;
  Trust trust_;
};

TEST_F(IssueTest, makes_what_verifies) {
  const auto server = certificate("log:a@b.c_d-e", Purpose::server, {"host.example"});
  ASSERT_TRUE(server) << server.error().message();
  EXPECT_EQ(verify(*server, "log:a@b.c_d-e"), Verdict::ok);
  EXPECT_EQ(verify(*server, "host.example"), Verdict::ok);
  EXPECT_EQ(verify(*server, "log"), Verdict::wrong_name);
  EXPECT_EQ(verify(*server, "host.example", Purpose::client), Verdict::wrong_purpose);
  EXPECT_EQ(verify(*server, "host.example", Purpose::server, 11 * kDay), Verdict::expired);
  EXPECT_TRUE(Credential::parse(server->certificate, text_of(server->key)));
  const auto client = certificate("log", Purpose::client);
  ASSERT_TRUE(client);
  EXPECT_EQ(verify(*client, "log", Purpose::client), Verdict::ok);
}

TEST_F(IssueTest, makes_what_the_openssl_command_verifies) {
  const auto server = certificate("log");
  ASSERT_TRUE(server);
  const OpensslCommand files;
  files.write("ca.pem", authority_.certificate);
  files.write("crt.pem", server->certificate);
  EXPECT_TRUE(files.run("openssl verify -x509_strict -purpose sslserver -CAfile ca.pem crt.pem"));
}

TEST_F(IssueTest, revokes_one_after_the_other) {
  const auto first = certificate("log");
  const auto second = certificate("log");
  const auto third = certificate("log");
  ASSERT_TRUE(first && second && third);
  std::string list;
  for (const Issued* const revoked : {&*first, &*second}) {
    const auto next = revoke(authority_.certificate, text_of(authority_.key), list,
                             revoked->certificate, {.from = now_ - 60, .days = 5});
    ASSERT_TRUE(next) << next.error().message();
    list = *next;
  }
  ASSERT_TRUE(trust_.add_revocations(list));
  EXPECT_EQ(verify(*first, "log"), Verdict::revoked);
  EXPECT_EQ(verify(*second, "log"), Verdict::revoked);
  EXPECT_EQ(verify(*third, "log"), Verdict::ok);
  EXPECT_EQ(verify(*third, "log", Purpose::server, 6 * kDay), Verdict::stale_revocations);
}

TEST_F(IssueTest, refuses_names_that_would_say_more) {
  for (const std::string name : {"", "a,DNS:b", "a b", "a/b", "a\nb"}) {
    EXPECT_EQ(certificate(name).error().error, EINVAL) << name;
    EXPECT_EQ(certificate("log", Purpose::server, {name}).error().error, EINVAL) << name;
  }
}

TEST_F(IssueTest, signs_only_with_the_key_of_an_authority) {
  const auto leaf = certificate("log");
  ASSERT_TRUE(leaf);
  const Request request{.name = "log", .hosts = {}, .common_name = "log"};
  EXPECT_FALSE(
      issue(authority_.certificate, text_of(leaf->key), request, {.from = now_, .days = 1}));
  EXPECT_EQ(issue(leaf->certificate, text_of(leaf->key), request, {.from = now_, .days = 1})
                .error()
                .error,
            EKEYREJECTED);
}

}  // namespace
}  // namespace flowfs::auth
