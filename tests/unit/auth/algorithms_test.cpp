// SPDX-License-Identifier: BSD-3-Clause
// Known answers through our own code, and what every algorithm must do.
#include "auth/algorithms.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "auth/aead.hpp"
#include "auth/hkdf.hpp"
#include "auth/key_exchange.hpp"
#include "auth_fixture.hpp"

namespace flowfs::auth {
namespace {

template <typename Code>
void expect_distinct() {
  std::set<Code> codes;
  std::set<std::string_view> names;
  for (const auto& info : all(Code{})) {
    EXPECT_TRUE(codes.insert(info.code).second && info.code != Code::none);
    EXPECT_TRUE(names.insert(info.name).second);
    EXPECT_EQ(find(info.code), &info);
    EXPECT_EQ(find_name<Code>(info.name), &info);
    EXPECT_EQ(to_string(info.code), info.name);
  }
  EXPECT_EQ(find(Code::none), nullptr);
  EXPECT_EQ(find(static_cast<Code>(255)), nullptr);
  EXPECT_EQ(find_name<Code>("rot13"), nullptr);
}

TEST(Algorithms, have_numbers_and_names_of_their_own) {
  expect_distinct<KeyExchange>();
  expect_distinct<Cipher>();
  expect_distinct<Kdf>();
  expect_distinct<Digest>();
}

// ---- HKDF: RFC 5869, appendix A
// ------------------------------------------------------------------

void expect_hkdf(View key, View salt, View info, std::string_view expected) {
  const Bytes wanted = from_hex(expected);
  const auto derived = hkdf(Digest::sha256, key, salt, info, wanted.size());
  ASSERT_TRUE(derived.has_value());
  EXPECT_TRUE(std::ranges::equal(derived->bytes(), wanted));
}

TEST(Hkdf, gives_the_known_answers) {
  expect_hkdf(
      Bytes(22, std::byte{0x0b}), counting(0, 13), counting(0xf0, 10),
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  expect_hkdf(
      counting(0, 80), counting(0x60, 80), counting(0xb0, 80),
      "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e"
      "590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
  expect_hkdf(
      Bytes(22, std::byte{0x0b}), {}, {},
      "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST(Hkdf, works_with_every_digest_and_refuses_what_it_cannot_give) {
  std::set<Bytes> derived;
  for (const DigestInfo& info : all(Digest{})) {
    const auto one = hkdf(info.code, counting(0, 32), counting(9, 32), "test", 64);
    ASSERT_TRUE(one.has_value()) << info.name;
    EXPECT_TRUE(derived.insert(copy(one->bytes())).second);
    const auto hashed = hash(info.code, {counting(0, 5), counting(5, 5)});
    ASSERT_TRUE(hashed.has_value()) << info.name;
    EXPECT_EQ(hashed->size(), info.bytes);
    EXPECT_EQ(*hashed, hash(info.code, {counting(0, 10)}).value());
  }
  EXPECT_FALSE(hkdf(Digest::none, counting(0, 32), {}, "test", 32).has_value());
  EXPECT_FALSE(hkdf(Digest::sha256, counting(0, 32), {}, "test", 256 * 32).has_value());
  EXPECT_FALSE(hash(Digest::none, {}).has_value());
}

// ---- ciphers: RFC 8439, 2.8.2, and the test cases 4 and 16 that NIST's GCM was submitted with
// -----

struct Sealed {
  Cipher cipher;
  Bytes key;
  Bytes nonce;
  Bytes header;
  Bytes plain;
  Bytes sealed;
  Bytes tag;
};

std::vector<Sealed> known_answers() {
  const std::string key = "feffe9928665731c6d6a8f9467308308";
  const Bytes nonce = from_hex("cafebabefacedbaddecaf888");
  const Bytes header = from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const Bytes plain = from_hex(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6"
      "b525"
      "b16aedf5aa0de657ba637b39");
  return {
      {Cipher::aes_128_gcm, from_hex(key), nonce, header, plain,
       from_hex(
           "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a"
           "5aac84aa051ba30b396a0aac973d58e091"),
       from_hex("5bc94fbc3221a5db94fae95ae7121a47")},
      {Cipher::aes_256_gcm, from_hex(key + key), nonce, header, plain,
       from_hex(
           "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b"
           "1056828838c5f61e6393ba7a0abcc9f662"),
       from_hex("76fc6ece0f4e1768cddf8853bb2d551b")},
      {Cipher::chacha20_poly1305, counting(0x80, 32), from_hex("070000004041424344454647"),
       from_hex("50515253c0c1c2c3c4c5c6c7"),
       from_text(
           "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
           "future, sunscreen would be it."),
       from_hex(
           "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb"
           "69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad6"
           "75945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116"),
       from_hex("1ae10b594f09e26a7e902ecbd0600691")},
  };
}

Aead::Nonce nonce_of(const Bytes& bytes) {
  Aead::Nonce nonce{};
  std::ranges::copy(bytes, nonce.begin());
  return nonce;
}

TEST(Aead, gives_the_known_answers_in_place_and_not) {
  for (const Sealed& known : known_answers()) {
    auto sealer = Aead::create(known.cipher, known.key, Aead::Use::seal);
    auto opener = Aead::create(known.cipher, known.key, Aead::Use::open);
    ASSERT_TRUE(sealer && opener);
    for (int round = 0; round < 2; ++round) {
      Bytes text = known.plain;
      Bytes elsewhere(text.size());
      std::array<std::byte, Aead::kTagBytes> tag{};
      Bytes& out = round == 0 ? text : elsewhere;
      ASSERT_TRUE(sealer->seal(nonce_of(known.nonce), known.header, text, out, tag));
      EXPECT_EQ(out, known.sealed) << to_string(known.cipher);
      EXPECT_TRUE(std::ranges::equal(tag, known.tag));
      ASSERT_TRUE(opener->open(nonce_of(known.nonce), known.header, out, tag, out));
      EXPECT_EQ(out, known.plain);
    }
  }
}

TEST(Aead, opens_nothing_that_was_changed_and_leaves_nothing_of_it) {
  for (const Sealed& known : known_answers()) {
    auto opener = Aead::create(known.cipher, known.key, Aead::Use::open);
    ASSERT_TRUE(opener.has_value());
    const auto opens = [&](const Sealed& one) {
      std::array<std::byte, Aead::kTagBytes> tag{};
      std::ranges::copy(one.tag, tag.begin());
      Bytes out(one.sealed.size(), std::byte{1});
      const bool good = opener->open(nonce_of(one.nonce), one.header, one.sealed, tag, out);
      EXPECT_TRUE(good || out == Bytes(out.size()));
      return good;
    };
    EXPECT_TRUE(opens(known));
    for (Bytes Sealed::* part : {&Sealed::nonce, &Sealed::header, &Sealed::sealed, &Sealed::tag}) {
      for (std::size_t i = 0; i < (known.*part).size(); ++i) {
        Sealed changed = known;
        (changed.*part)[i] ^= std::byte{0x80};
        EXPECT_FALSE(opens(changed));
      }
    }
    EXPECT_TRUE(opens(known));
  }
}

TEST(Aead, takes_only_keys_of_its_length_and_messages_of_no_length_too) {
  EXPECT_FALSE(Aead::create(Cipher::aes_256_gcm, counting(0, 16), Aead::Use::seal).has_value());
  EXPECT_FALSE(Aead::create(Cipher::none, counting(0, 16), Aead::Use::seal).has_value());
  for (const CipherInfo& info : all(Cipher{})) {
    auto sealer = Aead::create(info.code, counting(0, info.key_bytes), Aead::Use::seal);
    auto opener = Aead::create(info.code, counting(0, info.key_bytes), Aead::Use::open);
    ASSERT_TRUE(sealer && opener);
    std::array<std::byte, Aead::kTagBytes> tag{};
    EXPECT_TRUE(sealer->seal({}, {}, {}, {}, tag));
    EXPECT_TRUE(opener->open({}, {}, {}, tag, {}));
    tag[0] ^= std::byte{1};
    EXPECT_FALSE(opener->open({}, {}, {}, tag, {}));
  }
}

// ---- key exchange
// --------------------------------------------------------------------------------

constexpr const char* kNoMlKem = "this OpenSSL has no ML-KEM, which came with 3.5";

void expect_one_secret(const KeyExchangeInfo& info, const ServerKey& server) {
  const auto key = EphemeralKey::generate(info.code, server.known());
  ASSERT_TRUE(key.has_value()) << info.name;
  EXPECT_EQ(key->offer().size(), info.offer_bytes) << info.name;
  const auto answer = answer_offer(info.code, key->offer(), server.own());
  ASSERT_TRUE(answer.has_value()) << info.name;
  EXPECT_EQ(answer->share.size(), info.answer_bytes) << info.name;
  const auto secret = key->finish(answer->share);
  ASSERT_TRUE(secret.has_value()) << info.name;
  EXPECT_GE(secret->bytes().size(), 32U);
  EXPECT_TRUE(std::ranges::equal(secret->bytes(), answer->secret.bytes())) << info.name;
  const auto again = EphemeralKey::generate(info.code, server.known());
  ASSERT_TRUE(again.has_value());
  EXPECT_NE(again->offer(), key->offer()) << info.name;
}

void expect_bad_shares_refused(const KeyExchangeInfo& info, const ServerKey& server) {
  const auto key = EphemeralKey::generate(info.code, server.known());
  ASSERT_TRUE(key.has_value()) << info.name;
  const auto answer = [&](const Bytes& offer) {
    return answer_offer(info.code, offer, server.own()).error().error;
  };
  EXPECT_EQ(answer(Bytes(info.offer_bytes - 1, std::byte{4})), EKEYREJECTED) << info.name;
  EXPECT_EQ(key->finish(Bytes(info.answer_bytes + 1, std::byte{4})).error().error, EKEYREJECTED);
  if (info.server_key) {
    EXPECT_EQ(answer(Bytes(info.offer_bytes)), ENOKEY) << info.name;
    EXPECT_EQ(answer_offer(info.code, key->offer()).error().error, ENOKEY) << info.name;
  } else if (!info.post_quantum) {  // of a KEM every text of the right length means something
    EXPECT_EQ(answer(Bytes(info.offer_bytes)), EKEYREJECTED) << info.name;
    EXPECT_EQ(key->finish(Bytes(info.answer_bytes)).error().error, EKEYREJECTED) << info.name;
  }
}

TEST(KeyExchange, gives_both_sides_one_secret_and_shares_of_the_length_that_is_written_down) {
  for (const KeyExchangeInfo& info : all(KeyExchange{})) {
    if (!info.post_quantum) {
      expect_one_secret(info, {});
    }
  }
}

TEST(KeyExchange, refuses_shares_that_are_none) {
  for (const KeyExchangeInfo& info : all(KeyExchange{})) {
    if (!info.post_quantum) {
      expect_bad_shares_refused(info, {});
    }
  }
  // A point in the form that also tells its second half, which we never send.
  auto point = EphemeralKey::generate(KeyExchange::p256)->offer();
  point.front() = std::byte{0x06} | (point.back() & std::byte{1});
  EXPECT_EQ(answer_offer(KeyExchange::p256, point).error().error, EKEYREJECTED);
}

// In either role: the side that answers encapsulates, or the one that offers.
TEST(PostQuantum, gives_both_sides_one_secret_whoever_encapsulates) {
  if (!available(KeyExchange::ml_kem_768)) {
    GTEST_SKIP() << kNoMlKem;
  }
  const ServerKey server;
  for (const KeyExchangeInfo& info : all(KeyExchange{})) {
    if (info.post_quantum) {
      expect_one_secret(info, server);
      expect_bad_shares_refused(info, server);
      EXPECT_EQ(EphemeralKey::generate(info.code).has_value(), !info.server_key) << info.name;
    }
  }
}

// A ciphertext that is none gives a secret all the same, which the other side does not have.
TEST(PostQuantum, gives_no_common_secret_where_a_bit_has_changed) {
  if (!available(KeyExchange::ml_kem_768)) {
    GTEST_SKIP() << kNoMlKem;
  }
  const ServerKey server;
  for (const KeyExchangeInfo& info : all(KeyExchange{})) {
    if (!info.post_quantum) {
      continue;
    }
    const auto key = EphemeralKey::generate(info.code, server.known());
    ASSERT_TRUE(key.has_value());
    Bytes offer = key->offer();
    auto answer = answer_offer(info.code, offer, server.own());
    ASSERT_TRUE(answer.has_value());
    if (info.server_key) {
      offer.at(KemKey::kIdBytes + 500) ^= std::byte{1};
      answer = answer_offer(info.code, offer, server.own());
      ASSERT_TRUE(answer.has_value());
    } else {
      answer->share.at(500) ^= std::byte{1};
    }
    const auto secret = key->finish(answer->share);
    ASSERT_TRUE(secret.has_value());
    EXPECT_FALSE(std::ranges::equal(secret->bytes(), answer->secret.bytes())) << info.name;
  }
}

TEST(PostQuantum, is_not_to_be_had_of_an_older_openssl) {
  if (available(KeyExchange::ml_kem_768)) {
    GTEST_SKIP() << "this OpenSSL has ML-KEM";
  }
  for (const KeyExchangeInfo& info : all(KeyExchange{})) {
    EXPECT_EQ(available(info.code), !info.post_quantum) << info.name;
    if (info.post_quantum) {
      EXPECT_EQ(EphemeralKey::generate(info.code).error().error, EOPNOTSUPP);
      EXPECT_EQ(answer_offer(info.code, Bytes(info.offer_bytes)).error().error, EOPNOTSUPP);
    }
  }
}

// ---- the server's key

TEST(ServerKeys, are_read_by_their_halves) {
  const std::string nothing = "nothing\n";
  EXPECT_EQ(KemKey::parse_private(nothing).error().error, ENOKEY);
  EXPECT_EQ(KemKey::parse_public(nothing).error().error, ENOKEY);
  EXPECT_EQ(KemKey::parse_public(std::string(kLongestPem + 1, '\n')).error().error, EFBIG);
  if (!available(KeyExchange::ml_kem_768)) {
    GTEST_SKIP() << kNoMlKem;
  }
  const ServerKey server;
  EXPECT_TRUE(std::ranges::equal(server.own()->id(), server.known()->id()));
  EXPECT_EQ(server.own()->id().size(), KemKey::kIdBytes);
  EXPECT_EQ(KemKey::parse_private(server.public_pem).error().error, ENOKEY);
  EXPECT_EQ(KemKey::parse_public(server.private_pem).error().error, ENOKEY);
  const std::string half = server.private_pem.substr(0, server.private_pem.size() / 2);
  EXPECT_EQ(KemKey::parse_private(half).error().error, EBADMSG);
}

TEST(ServerKeys, are_of_ml_kem_and_not_encrypted) {
  const OpensslCommand files;
  ASSERT_TRUE(
      files.run("key other ED25519; openssl pkey -in other -aes128 -passout pass:x -out locked"));
  EXPECT_EQ(KemKey::parse_private(files.read("other")).error().error, EKEYREJECTED);
  EXPECT_EQ(KemKey::parse_private(files.read("locked")).error().error, EKEYREJECTED);
}

}  // namespace
}  // namespace flowfs::auth
