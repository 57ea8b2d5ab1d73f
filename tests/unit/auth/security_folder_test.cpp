// SPDX-License-Identifier: BSD-3-Clause
#include "auth/security_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "openssl_command.hpp"

namespace flowfs::auth {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uid_t kStranger = 12345;

// A folder with an authority and a server called log, copied from what was made once.
class SecurityFolderTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = std::make_unique<OpensslCommand>();
    ASSERT_TRUE(files_->run(R"(
      server='subjectAltName=DNS:log\nextendedKeyUsage=serverAuth\n'
      authority ca; authority stranger
      certificate log ca "$server"; certificate next ca "$server"
      certificate foreign stranger "$server"
      revoke ca log.pem; lists ca
      mkdir -p made/cacert made/server/log
      cp ca.pem made/cacert
      cp log.pem made/server/log/crt.pem; cp log.key made/server/log/key.pem
      chmod -R go= made; cp ca.key made/.hidden
    )"));
  }
  static void TearDownTestSuite() { files_.reset(); }
  void SetUp() override {
    ASSERT_TRUE(files_->run("rm -rf held; cp -a made held"));
    folder_ = std::make_unique<SecurityFolder>(
        files_->path("held"), [this](const Complaint& complaint) { told_.push_back(complaint); });
  }

  static bool shell(const std::string& script) { return files_->run("cd held\n" + script); }
  // As long after the last look as it takes to look again.
  Instant later_on() { return now_ += SecurityFolder::kLookAgain; }

  Result<NameSecurity> server() { return folder_->of(Side::server, "log", later_on()); }
  std::string subject_of_server() {
    const auto found = server();
    return found && found->credential ? found->credential->leaf().subject() : "";
  }
  Verdict verify(const std::string& file) {
    const auto trust = folder_->trust(later_on());
    const auto chain = parse_certificates(files_->read(file));
    return trust && chain
               ? verify_chain(*chain, **trust, "log", Purpose::server, std::time(nullptr) + 60)
               : Verdict::refused;
  }
  // What was told since the last time.
  Complaints told() { return std::exchange(told_, {}); }
  static auto complaint(const std::string& file, const std::string& why) {
    return ElementsAre(testing::AllOf(Field(&Complaint::path, EndsWith("/held/" + file)),
                                      Field(&Complaint::why, HasSubstr(why))));
  }

  static std::unique_ptr<OpensslCommand> files_;
  std::unique_ptr<SecurityFolder> folder_;
  Complaints told_;
  Instant now_ = Clock::now();
};

std::unique_ptr<OpensslCommand> SecurityFolderTest::files_;

TEST_F(SecurityFolderTest, finds_what_is_there) {
  EXPECT_EQ(subject_of_server(), "CN=log");
  EXPECT_EQ(verify("log.pem"), Verdict::ok);
  EXPECT_EQ(verify("foreign.pem"), Verdict::untrusted);
  const auto client = folder_->of(Side::client, "log", now_);
  ASSERT_TRUE(client);
  EXPECT_EQ(client->credential, nullptr);
  EXPECT_FALSE(client->policy);
  EXPECT_THAT(folder_->names(Side::server), ElementsAre("log"));
  EXPECT_THAT(folder_->names(Side::client), IsEmpty());
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(SecurityFolderTest, has_nothing_where_there_is_no_folder) {
  ASSERT_TRUE(files_->run("rm -r held"));
  const auto found = server();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->credential, nullptr);
  EXPECT_EQ(folder_->trust(now_).error().error, ENOKEY);
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(SecurityFolderTest, has_nobody_to_believe_without_an_authority) {
  ASSERT_TRUE(shell("rm cacert/*"));
  EXPECT_EQ(folder_->trust(now_).error().error, ENOKEY);
}

TEST_F(SecurityFolderTest, reads_the_policy_of_a_name) {
  ASSERT_TRUE(shell("echo 'encrypt = \"require\"' >server/log/enc.toml"));
  const auto found = server();
  ASSERT_TRUE(found);
  ASSERT_TRUE(found->policy);
  EXPECT_EQ(found->policy->encrypt, Encrypt::require);
}

TEST_F(SecurityFolderTest, refuses_a_name_whose_policy_it_does_not_understand) {
  ASSERT_TRUE(shell(
      "printf 'cipher = [\"aes-128-gcm\"]\\nencrypt = \"sometimes\"\\n' >server/log/enc.toml"));
  EXPECT_EQ(server().error().error, EKEYREJECTED);
  EXPECT_THAT(told(), complaint("server/log/enc.toml", "enc.toml:2: encrypt"));
}

TEST_F(SecurityFolderTest, reads_again_what_has_changed) {
  EXPECT_EQ(subject_of_server(), "CN=log");
  ASSERT_TRUE(shell("cp ../next.pem server/log/crt.pem; cp ../next.key server/log/key.pem"));
  EXPECT_EQ(subject_of_server(), "CN=next");
  EXPECT_EQ(verify("foreign.pem"), Verdict::untrusted);
  ASSERT_TRUE(shell("cp ../stranger.pem cacert"));
  EXPECT_EQ(verify("foreign.pem"), Verdict::ok);
  ASSERT_TRUE(shell("mkdir -m 700 crl; cp ../ca.crl crl"));
  EXPECT_EQ(verify("log.pem"), Verdict::revoked);
  ASSERT_TRUE(shell("rm cacert/ca.pem"));
  EXPECT_EQ(verify("log.pem"), Verdict::untrusted);
}

// Texts of one length, one after the other within a tick of the clock that files get their times
// by.
TEST_F(SecurityFolderTest, reads_again_what_has_changed_however_soon) {
  for (int i = 0; i < 100; ++i) {
    const bool odd = i % 2 == 1;
    std::ofstream(files_->path("held/server/log/enc.toml"))
        << (odd ? "encrypt = \"require\"\n" : "encrypt = \"allow\"  \n");
    const auto found = server();
    ASSERT_TRUE(found && found->policy) << i;
    ASSERT_EQ(found->policy->encrypt, odd ? Encrypt::require : Encrypt::allow) << i;
  }
}

// As a file is between the two steps of `echo ... >enc.toml`.
TEST_F(SecurityFolderTest, refuses_a_policy_that_is_about_to_be_written) {
  ASSERT_TRUE(shell(": >server/log/enc.toml"));
  EXPECT_EQ(server().error().error, EKEYREJECTED);
  EXPECT_THAT(told(), complaint("server/log/enc.toml", "it is empty"));
  ASSERT_TRUE(shell("echo '# nothing is asked for' >server/log/enc.toml"));
  EXPECT_TRUE(server());
}

// One look with each number of descriptors that a process may have, up to where there are enough.
TEST_F(SecurityFolderTest, recovers_when_there_are_descriptors_again) {
  ASSERT_TRUE(
      shell("mkdir -m 700 crl; cp ../ca.crl crl; echo 'encrypt = \"require\"' "
            ">server/log/enc.toml"));
  const auto chain = parse_certificates(files_->read("log.pem"));  // which is revoked
  ASSERT_TRUE(chain);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  // Its complaints are nobody's: UBSan wants a descriptor to look at who would get them.
  SecurityFolder folder(files_->path("held"), [](const Complaint&) {});
  int refused = 0;
  for (rlim_t most = 0; most < 32; ++most) {
    const Instant now = later_on();
    const rlimit few{.rlim_cur = most, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    const auto found = folder.of(Side::server, "log", now);
    const auto trust = folder.trust(now);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    refused += found && trust ? 0 : 1;
    EXPECT_TRUE(!found || (found->credential != nullptr && found->policy));
    const auto verdict = [&](const Trust& believed) {
      return verify_chain(*chain, believed, "log", Purpose::server, std::time(nullptr) + 60);
    };
    EXPECT_TRUE(!trust || verdict(**trust) != Verdict::ok) << most;
    const auto whole = folder.of(Side::server, "log", later_on());
    const auto believed = folder.trust(now_);
    ASSERT_TRUE(whole && believed) << most;
    EXPECT_TRUE(whole->credential != nullptr && whole->policy) << most;
    EXPECT_EQ(verdict(**believed), Verdict::revoked) << most;
  }
  EXPECT_GT(refused, 3);
  EXPECT_LT(refused, 32);
}

TEST_F(SecurityFolderTest, follows_a_folder_that_is_swapped_by_a_link) {
  ASSERT_TRUE(
      shell("mv server/log server/.first; ln -s .first server/log; "
            "mkdir -m 700 server/.second; cp ../next.pem server/.second/crt.pem; "
            "install -m 600 ../next.key server/.second/key.pem"));
  EXPECT_EQ(subject_of_server(), "CN=log");
  ASSERT_TRUE(shell("ln -sfn .second server/log"));
  EXPECT_EQ(subject_of_server(), "CN=next");
}

// As flowfs-security(7) has it for keys that are rotated: a new folder, the link put there at once,
// the old one taken away. At no moment is there nothing.
TEST_F(SecurityFolderTest, finds_one_or_the_other_while_folders_are_swapped) {
  ASSERT_TRUE(
      shell("echo 'encrypt = \"require\"' >server/log/enc.toml; mv server/log server/.0; "
            "ln -s .0 server/log"));
  const std::filesystem::path held = files_->path("held/server");
  std::atomic<bool> stop = false;
  std::thread administrator([&] {
    for (int i = 0; !stop.load(std::memory_order_relaxed); ++i) {  // relaxed: any time will do
      const std::filesystem::path before = held / ("." + std::to_string(i));
      const std::string after = "." + std::to_string(i + 1);
      std::filesystem::copy(before, held / after);
      std::filesystem::create_directory_symlink(after, held / ".next");
      std::filesystem::rename(held / ".next", held / "log");
      std::filesystem::remove_all(before);
    }
  });
  int found_it = 0;
  for (int i = 0; i < 300; ++i) {
    const auto found = server();
    EXPECT_TRUE(!found || (found->credential != nullptr && found->policy)) << i;
    found_it += found ? 1 : 0;
  }
  stop.store(true, std::memory_order_relaxed);
  administrator.join();
  EXPECT_GT(found_it, 0);
  EXPECT_EQ(subject_of_server(), "CN=log");
}

TEST_F(SecurityFolderTest, looks_no_more_than_once_in_a_while) {
  const auto first = server();
  ASSERT_TRUE(first);
  ASSERT_TRUE(shell("rm -r server/log"));
  const auto soon = folder_->of(Side::server, "log", now_ + SecurityFolder::kLookAgain - Micros(1));
  ASSERT_TRUE(soon);
  EXPECT_EQ(soon->credential, first->credential);
  EXPECT_EQ(server()->credential, nullptr);
}

TEST_F(SecurityFolderTest, keeps_what_has_not_changed) {
  // What changed a moment ago could change again without having another time.
  const auto made = std::chrono::system_clock::now();
  while (std::chrono::system_clock::now() < made + std::chrono::milliseconds(50)) {
    std::this_thread::yield();
  }
  const auto first = server();
  ASSERT_TRUE(first);
  EXPECT_EQ(server()->credential, first->credential);
  const auto trust = folder_->trust(later_on());
  ASSERT_TRUE(trust);
  EXPECT_EQ(*folder_->trust(later_on()), *trust);
}

TEST_F(SecurityFolderTest, refuses_a_key_that_others_may_read) {
  for (const char* const mode : {"g+r", "o+r", "g+w", "o+w", "o+x"}) {
    ASSERT_TRUE(
        shell(std::string("chmod 600 server/log/key.pem; chmod ") + mode + " server/log/key.pem"));
    EXPECT_EQ(server().error().error, EKEYREJECTED) << mode;
  }
  EXPECT_THAT(told(), complaint("server/log/key.pem", "others may read or write"));
  ASSERT_TRUE(shell("chmod 400 server/log/key.pem"));
  EXPECT_EQ(subject_of_server(), "CN=log");
}

TEST_F(SecurityFolderTest, complains_once_until_the_reason_is_another) {
  ASSERT_TRUE(shell("chmod 644 server/log/key.pem"));
  EXPECT_FALSE(server());
  EXPECT_EQ(told().size(), 1U);
  EXPECT_FALSE(server());
  EXPECT_THAT(told(), IsEmpty());
  ASSERT_TRUE(shell("chmod 600 server/log/key.pem; echo >server/log/key.pem"));
  EXPECT_FALSE(server());
  EXPECT_THAT(told(), complaint("server/log/key.pem", "no private key"));
  ASSERT_TRUE(shell("cp ../log.key server/log/key.pem"));
  EXPECT_TRUE(server());
  ASSERT_TRUE(shell("echo >server/log/key.pem"));
  EXPECT_FALSE(server());
  EXPECT_EQ(told().size(), 1U);
}

TEST_F(SecurityFolderTest, refuses_what_others_may_write) {
  ASSERT_TRUE(shell("chmod g+w server/log/crt.pem"));
  EXPECT_FALSE(server());
  EXPECT_THAT(told(), complaint("server/log/crt.pem", "others may write"));
  ASSERT_TRUE(shell("chmod g-w server/log/crt.pem; chmod o+w server/log"));
  EXPECT_FALSE(server());
  EXPECT_THAT(told(), complaint("server/log", "others may write"));
  ASSERT_TRUE(shell("chmod 700 server/log; chmod 777 server"));
  EXPECT_FALSE(server());
  EXPECT_THAT(told(), complaint("server", "others may write"));
  ASSERT_TRUE(shell("chmod 777 cacert"));
  EXPECT_EQ(folder_->trust(later_on()).error().error, EKEYREJECTED);
  EXPECT_THAT(told(), complaint("cacert", "others may write"));
}

TEST_F(SecurityFolderTest, refuses_what_belongs_to_another_user) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can give files away";
  }
  const std::string key = files_->path("held/server/log/key.pem");
  ASSERT_EQ(::chown(key.c_str(), kStranger, kStranger), 0);
  EXPECT_FALSE(server());
  EXPECT_THAT(told(), complaint("server/log/key.pem", "belongs to another user"));
  const std::string authority = files_->path("held/cacert/ca.pem");
  ASSERT_EQ(::chown(authority.c_str(), kStranger, kStranger), 0);
  EXPECT_EQ(folder_->trust(later_on()).error().error, ENOKEY);
  EXPECT_THAT(told(), complaint("cacert/ca.pem", "belongs to another user"));
}

TEST_F(SecurityFolderTest, refuses_half_of_a_pair) {
  ASSERT_TRUE(shell("rm server/log/key.pem"));
  EXPECT_FALSE(server());
  EXPECT_THAT(told(), complaint("server/log/key.pem", "missing"));
  ASSERT_TRUE(shell("cp ../next.key server/log/key.pem; chmod 600 server/log/key.pem"));
  EXPECT_FALSE(server());
  EXPECT_THAT(told(), complaint("server/log/key.pem", "not that of"));
}

TEST_F(SecurityFolderTest, passes_over_a_spoiled_authority_and_no_spoiled_list) {
  ASSERT_TRUE(shell("echo nothing >cacert/a.pem; chmod 600 cacert/a.pem"));
  EXPECT_EQ(verify("log.pem"), Verdict::ok);
  EXPECT_THAT(told(), complaint("cacert/a.pem", "no certificate"));
  ASSERT_TRUE(shell("mkdir -m 700 crl; echo nothing >crl/a.pem"));
  EXPECT_EQ(folder_->trust(later_on()).error().error, EKEYREJECTED);
  EXPECT_THAT(told(), complaint("crl/a.pem", "no list of revoked"));
}

TEST_F(SecurityFolderTest, notices_a_folder_of_lists_that_comes_with_open_modes) {
  EXPECT_EQ(verify("log.pem"), Verdict::ok);
  ASSERT_TRUE(shell("mkdir crl; chmod 777 crl; cp ../ca.crl crl"));
  EXPECT_EQ(folder_->trust(later_on()).error().error, EKEYREJECTED);
  EXPECT_THAT(told(), complaint("crl", "others may write"));
}

TEST_F(SecurityFolderTest, does_not_wait_for_what_is_no_file) {
  ASSERT_TRUE(shell("rm server/log/key.pem; mkfifo -m 600 server/log/key.pem"));
  EXPECT_FALSE(server());
  EXPECT_THAT(told(), complaint("server/log/key.pem", "not a regular file"));
}

TEST_F(SecurityFolderTest, reads_the_servers_key_of_either_side) {
  const auto pair = make_kem_pair();
  if (!pair) {  // what is there and cannot be used fails the name
    ASSERT_TRUE(shell("cp server/log/key.pem server/log/kem.pem"));
    EXPECT_EQ(server().error().error, EKEYREJECTED);
    EXPECT_THAT(told(), complaint("server/log/kem.pem", "this OpenSSL has no ML-KEM"));
    GTEST_SKIP() << "this OpenSSL has no ML-KEM, which came with 3.5";
  }
  files_->write("held/server/log/kem.pem", std::string(text_of(pair->private_half)));
  EXPECT_EQ(server().error().error, EKEYREJECTED);
  EXPECT_THAT(told(), complaint("server/log/kem.pem", "others may read or write"));
  ASSERT_TRUE(shell("chmod 600 server/log/kem.pem; mkdir -p -m 700 client/log"));
  files_->write("held/client/log/kem.pem", pair->public_half);
  ASSERT_TRUE(shell("chmod 644 client/log/kem.pem"));
  const auto own = server();
  const auto known = folder_->of(Side::client, "log", later_on());
  ASSERT_TRUE(own && known && own->server_key && known->server_key);
  EXPECT_TRUE(std::ranges::equal(own->server_key->id(), known->server_key->id()));
  ASSERT_TRUE(shell("cp server/log/kem.pem client/log"));
  EXPECT_FALSE(folder_->of(Side::client, "log", later_on()));
  EXPECT_THAT(told(), complaint("client/log/kem.pem", "no such key"));
}

// Whoever made it wanted what it leads to, which may be a policy.
TEST_F(SecurityFolderTest, refuses_a_link_to_what_is_not_there) {
  ASSERT_TRUE(shell("ln -s nowhere server/log/enc.toml"));
  EXPECT_EQ(server().error().error, EKEYREJECTED);
  EXPECT_THAT(told(), complaint("server/log/enc.toml", "a link to what is not there"));
  ASSERT_TRUE(shell("echo 'encrypt = \"require\"' >server/log/nowhere"));
  EXPECT_TRUE(server());
  ASSERT_TRUE(shell("mv server/log server/.log; ln -s elsewhere server/log"));
  EXPECT_EQ(server().error().error, EKEYREJECTED);
  EXPECT_THAT(told(), complaint("server/log", "a link to what is not there"));
  ASSERT_TRUE(shell("ln -s nowhere crl"));
  EXPECT_EQ(folder_->trust(later_on()).error().error, EKEYREJECTED);
  EXPECT_THAT(told(), complaint("crl", "a link to what is not there"));
}

TEST_F(SecurityFolderTest, refuses_a_link_in_a_circle) {
  ASSERT_TRUE(shell("ln -sf key.pem server/log/key.pem"));
  EXPECT_EQ(server().error().error, EKEYREJECTED);
  EXPECT_THAT(told(), complaint("server/log/key.pem", "cannot be opened"));
}

TEST_F(SecurityFolderTest, says_why_names_cannot_be_listed) {
  ASSERT_TRUE(shell("chmod 777 server"));
  EXPECT_THAT(folder_->names(Side::server), IsEmpty());
  EXPECT_THAT(told(), complaint("server", "others may write"));
}

TEST_F(SecurityFolderTest, refuses_names_that_lead_elsewhere) {
  for (const std::string name : {"", ".", "..", ".hidden", "../server/log", "log/", "a/b"}) {
    EXPECT_EQ(folder_->of(Side::server, name, now_).error().error, EINVAL) << name;
  }
  EXPECT_EQ(folder_->of(Side::server, std::string("a\0b", 3), now_).error().error, EINVAL);
  EXPECT_EQ(folder_->of(Side::server, std::string(256, 'a'), now_).error().error, EINVAL);
}

TEST_F(SecurityFolderTest, forgets_names_before_there_are_too_many) {
  for (std::size_t i = 0; i < 2 * SecurityFolder::kMostNames; ++i) {
    ASSERT_TRUE(folder_->of(Side::client, "name" + std::to_string(i), now_));
  }
  EXPECT_EQ(subject_of_server(), "CN=log");
}

TEST_F(SecurityFolderTest, bounds_the_files_of_a_folder) {
  ASSERT_TRUE(shell("for i in $(seq 257); do : >cacert/$i; done"));
  EXPECT_EQ(folder_->trust(now_).error().error, EKEYREJECTED);
  EXPECT_THAT(told(), complaint("cacert", "too many files"));
}

}  // namespace
}  // namespace flowfs::auth
