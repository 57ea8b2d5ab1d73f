// SPDX-License-Identifier: BSD-3-Clause
// Flows whose messages are sealed: what lies in queues and lanes, who may seal when, and what
// becomes of records that are not what was sealed.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "mapped_fixture.hpp"

namespace flowfs::flow {
namespace {

using test::bytes;
using test::kClient;
using test::kServer;
using test::Program;
using test::read;
using test::text;
using test::write;

constexpr std::size_t kMtu = 5'000;
constexpr std::size_t kDepth = 20'000;
constexpr std::string_view kPlain = "what nobody may see";

auth::Secret secret_of(int first) {
  auth::Secret secret(32);
  std::ranges::generate(secret.writable(), [&] { return static_cast<std::byte>(first++); });
  return secret;
}

Keys keys_of(std::uint64_t records_an_epoch = 1 << 20) {
  Keys keys;
  keys.choice = {.key_exchange = auth::KeyExchange::x25519,
                 .cipher = auth::Cipher::aes_256_gcm,
                 .kdf = auth::Kdf::hkdf,
                 .digest = auth::Digest::sha256};
  keys.to_server = secret_of(1);
  keys.to_client = secret_of(101);
  keys.limits.records = records_an_epoch;
  return keys;
}

auth::Secret secret_in(const std::uint8_t (&field)[32]) {
  auth::Secret secret(sizeof field);
  std::ranges::copy(std::as_bytes(std::span(field)), secret.writable().begin());
  return secret;
}

// What a program makes of its key.
struct Unlocked {
  explicit Unlocked(const flowfs_key& key, auth::RekeyLimits limits = {})
      : sealer(make_sealer(key, limits)),
        opener(std::move(*auth::RecordOpener::create(choice(key), secret_in(key.receiving), limits,
                                                     mark(key)))) {}
  static auth::Choice choice(const flowfs_key& key) {
    auth::Choice choice;
    choice.cipher = auth::Cipher{key.cipher};
    choice.digest = auth::Digest{key.digest};
    return choice;
  }
  static auth::RecordMark mark(const flowfs_key& key) {
    return {.epoch = key.next_epoch, .next = key.next_number};
  }
  static auth::RecordSealer make_sealer(const flowfs_key& key, auth::RekeyLimits limits) {
    limits.last_epoch = key.last_epoch;
    return std::move(*auth::RecordSealer::create(choice(key), secret_in(key.sending), Clock::now(),
                                                 limits, key.first_epoch));
  }
  std::string seal(std::string_view message) {
    std::string record(message.size() + Sealing::kOverhead, '\0');
    EXPECT_EQ(sealer.seal(bytes(message), std::as_writable_bytes(std::span(record)), Clock::now()),
              auth::RecordSealer::Outcome::ok);
    return record;
  }
  // The message, or "(refused)".
  std::string open(std::string_view record) {
    if (record.size() <= Sealing::kOverhead) {
      return "(refused)";
    }
    std::string message(record.size() - Sealing::kOverhead, '\0');
    const auto outcome =
        opener.open(bytes(record), std::as_writable_bytes(std::span(message)), Clock::now());
    return outcome == auth::RecordOpener::Outcome::ok ? message : "(refused)";
  }

  auth::RecordSealer sealer;
  auth::RecordOpener opener;
};

class Encrypted : public testing::Test {
 protected:
  void SetUp() override { channel.encrypt(keys_of()); }

  std::unique_ptr<Program> attach(Side side) {
    EXPECT_TRUE(channel.make_segments(world.setup()).has_value());
    auto program = Program::attach(channel, side, world.status_of(side));
    EXPECT_TRUE(program.has_value());
    return std::move(*program);
  }
  Unlocked unlock(Side side) {
    const auto key = channel.take_key(side);
    EXPECT_TRUE(key.has_value());
    return Unlocked(*key);
  }
  int key_error(Side side) {
    const auto key = channel.take_key(side);
    return key ? 0 : key.error().error;
  }

  test::World world;
  Channel channel{{.mtu_bytes = kMtu, .depth_bytes = kDepth}};
};

TEST_F(Encrypted, file_ends_talk_as_ever_in_limits_of_what_they_say) {
  EXPECT_TRUE(channel.is_encrypted());
  EXPECT_EQ(write(channel, kClient, std::string(kMtu, 'a')), "ok");
  EXPECT_EQ(write(channel, kClient, std::string(kMtu + 1, 'a')), "(too long)");
  EXPECT_EQ(channel.queued_bytes(kClient), kMtu);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(write(channel, kClient, std::string(kMtu, 'b')), "ok");
  }
  EXPECT_EQ(write(channel, kClient, "c"), "(full)");
  EXPECT_EQ(read(channel, kServer), std::string(kMtu, 'a'));
  EXPECT_EQ(write(channel, kServer, "back"), "ok");
  EXPECT_EQ(read(channel, kClient), "back");
  EXPECT_EQ(channel.stats(kClient).bytes, 4 * kMtu);
  EXPECT_EQ(channel.stats(kServer).bytes, 4U);
}

TEST_F(Encrypted, a_message_is_never_passed_by_unsealed) {
  EXPECT_FALSE(channel.may_pass(kClient, 1));
}

TEST_F(Encrypted, a_message_read_in_part_goes_on_in_a_file_and_is_whole_again_in_memory) {
  ASSERT_EQ(write(channel, kClient, "first"), "ok");
  ASSERT_EQ(write(channel, kClient, "second"), "ok");
  EXPECT_EQ(read(channel, kServer), "first");
  ASSERT_EQ(text(channel.front(kServer).rest), "second");
  channel.consume(kServer, 3);
  EXPECT_TRUE(channel.front(kServer).begun);
  EXPECT_EQ(text(channel.front(kServer).rest), "ond");

  const auto server = attach(kServer);
  Unlocked its = unlock(kServer);
  EXPECT_EQ(its.open(server->receive()), "second");
  EXPECT_EQ(server->receive(), "(empty)");
}

TEST_F(Encrypted, lanes_hold_nothing_but_what_was_sealed) {
  const auto server = attach(kServer);
  Unlocked its = unlock(kServer);
  ASSERT_EQ(write(channel, kClient, kPlain), "ok");
  const std::string record = server->receive();
  EXPECT_EQ(record.size(), kPlain.size() + Sealing::kOverhead);
  EXPECT_EQ(record.find(kPlain.substr(0, 8)), std::string::npos);
  EXPECT_EQ(its.open(record), kPlain);
  EXPECT_EQ(its.open(record), "(refused)") << "a second time";
  const std::string long_one(kMtu, 'l');
  ASSERT_EQ(write(channel, kClient, long_one), "ok");
  EXPECT_EQ(its.open(server->receive()), long_one);
}

TEST_F(Encrypted, what_is_not_what_a_program_sealed_is_dropped_and_counted) {
  const auto client = attach(kClient);
  Unlocked its = unlock(kClient);
  const std::string first = its.seal("first");
  std::string tampered = its.seal("tampered");
  tampered.back() = static_cast<char>(tampered.back() ^ 1);
  std::string renumbered = its.seal("renumbered");
  renumbered[11] = static_cast<char>(renumbered[11] ^ 1);
  ASSERT_EQ(write(channel, kServer, "reflected"), "ok");
  const std::string reflected = client->receive();
  for (const std::string& record :
       {first, tampered, first, renumbered, reflected, std::string(kPlain), std::string("short"),
        std::string(Sealing::kOverhead, 'x'), its.seal("last")}) {
    ASSERT_EQ(client->send(record), "ok");
  }
  EXPECT_EQ(read(channel, kServer), "first");
  EXPECT_EQ(read(channel, kServer), "last");
  EXPECT_EQ(read(channel, kServer), "(empty)");
  EXPECT_EQ(channel.stats(kClient).messages, 9U);
  EXPECT_EQ(channel.stats(kClient).drops, 7U);
  EXPECT_EQ(its.open(reflected), "reflected") << "the keys are what they were";
}

TEST_F(Encrypted, a_block_that_anybody_could_read_is_no_message) {
  const auto client = attach(kClient);
  Unlocked its = unlock(kClient);
  ASSERT_EQ(client->send_block({.pool = 1, .block = 0, .generation = 0, .offset = 0, .length = 9}),
            "ok");
  ASSERT_EQ(client->send(its.seal("sealed")), "ok");
  EXPECT_EQ(read(channel, kServer), "sealed");
  EXPECT_EQ(channel.stats(kClient).drops, 1U);
}

TEST_F(Encrypted, a_liar_is_not_listened_to_for_ever) {
  const auto client = attach(kClient);
  int sent = 0;
  while (client->send(std::string(40, 'x')) == "ok") {
    ++sent;
  }
  ASSERT_GT(sent, 10);
  EXPECT_EQ(read(channel, kServer), "(empty)");
  EXPECT_EQ(channel.stats(kClient).drops, static_cast<std::uint64_t>(sent));
  EXPECT_FALSE(channel.is_corrupt());
}

// --- the key
// ---------------------------------------------------------------------------------------

TEST_F(Encrypted, the_key_is_given_once_to_an_end_that_is_mapped) {
  EXPECT_EQ(key_error(kClient), EPERM);
  const auto client = attach(kClient);
  EXPECT_EQ(key_error(kServer), EPERM);
  EXPECT_EQ(key_error(kClient), 0);
  EXPECT_EQ(key_error(kClient), ENOKEY);
  EXPECT_EQ(write(channel, kServer, "on"), "ok") << "the other end is still the daemon's";
}

TEST_F(Encrypted, there_is_no_key_of_a_plain_flow) {
  Channel plain({.mtu_bytes = kMtu, .depth_bytes = kDepth});
  const auto key = plain.take_key(kClient);
  ASSERT_FALSE(key.has_value());
  EXPECT_EQ(key.error().error, ENOKEY);
}

TEST_F(Encrypted, whoever_seals_next_has_epochs_that_nobody_had) {
  std::vector<flowfs_key> keys;
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(write(channel, kClient, "as a file"), "ok");
    EXPECT_EQ(read(channel, kServer), "as a file");
    {
      const auto client = attach(kClient);
      const auto key = channel.take_key(kClient);
      ASSERT_TRUE(key.has_value());
      keys.push_back(*key);
      EXPECT_GT(key->first_epoch, 0U) << "the daemon's come first";
      ASSERT_EQ(client->send(Unlocked(*key).seal("mapped")), "ok");
    }
    ASSERT_TRUE(channel.detach(kClient).has_value());
    EXPECT_EQ(read(channel, kServer), "mapped");
  }
  EXPECT_GT(keys[1].first_epoch, keys[0].last_epoch + 1) << "the daemon's between";
  EXPECT_GT(keys[2].first_epoch, keys[1].last_epoch + 1);
}

TEST_F(Encrypted, an_attach_that_takes_no_key_changes_no_number) {
  {
    const auto client = attach(kClient);
    ASSERT_EQ(client->send("garbage that is long enough to be looked at"), "ok");
  }
  ASSERT_TRUE(channel.detach(kClient).has_value());
  ASSERT_EQ(write(channel, kClient, "on"), "ok");
  EXPECT_EQ(read(channel, kServer), "on");
  const auto client = attach(kClient);
  const auto key = channel.take_key(kClient);
  ASSERT_TRUE(key.has_value());
  EXPECT_EQ(key->first_epoch, Sealing::kEpochs);
}

TEST_F(Encrypted, what_a_file_has_read_is_over_for_the_program_that_follows_it) {
  const auto client = attach(kClient);
  Unlocked sending = unlock(kClient);
  const std::string old = sending.seal("old");
  ASSERT_EQ(client->send(old), "ok");
  EXPECT_EQ(read(channel, kServer), "old");
  const auto server = attach(kServer);
  Unlocked receiving = unlock(kServer);
  EXPECT_EQ(receiving.open(old), "(refused)");
  ASSERT_EQ(client->send(sending.seal("new")), "ok");
  EXPECT_EQ(receiving.open(server->receive()), "new");
}

TEST_F(Encrypted, what_a_program_left_unread_a_file_reads) {
  {
    const auto server = attach(kServer);
    Unlocked its = unlock(kServer);
    ASSERT_EQ(write(channel, kClient, "read"), "ok");
    ASSERT_EQ(write(channel, kClient, "unread"), "ok");
    EXPECT_EQ(its.open(server->receive()), "read");
    server->publish();
  }
  ASSERT_TRUE(channel.detach(kServer).has_value());
  EXPECT_EQ(read(channel, kServer), "unread");
  EXPECT_EQ(read(channel, kServer), "(empty)");
}

TEST(EncryptedRekeying, loses_nothing_between_files_nor_to_a_program) {
  constexpr std::uint64_t kRecords = 7;
  test::World world;
  Channel channel({.mtu_bytes = kMtu, .depth_bytes = kDepth});
  channel.encrypt(keys_of(kRecords));
  int sent = 0;
  int received = 0;
  const auto check = [&](const std::string& message) {
    EXPECT_EQ(message, std::to_string(received));
    ++received;
  };
  while (sent < 500) {
    ASSERT_EQ(write(channel, kClient, std::to_string(sent++)), "ok");
    if (sent % 5 == 0) {
      while (received < sent - 3) {
        check(read(channel, kServer));
      }
    }
  }
  ASSERT_TRUE(channel.make_segments(world.setup()).has_value());
  auto server = std::move(*Program::attach(channel, kServer, world.status_of(kServer)));
  auth::RekeyLimits limits;
  limits.records = kRecords;
  Unlocked its(*channel.take_key(kServer), limits);
  for (; sent < 1'000; ++sent) {
    ASSERT_EQ(write(channel, kClient, std::to_string(sent)), "ok");
    check(its.open(server->receive()));
  }
  while (received < sent) {
    check(its.open(server->receive()));
  }
  EXPECT_EQ(its.opener.epoch(), static_cast<std::uint64_t>(sent - 1) / kRecords);
  EXPECT_EQ(channel.stats(kClient).drops, 0U);
}

}  // namespace
}  // namespace flowfs::flow
