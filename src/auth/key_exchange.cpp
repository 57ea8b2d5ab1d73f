// SPDX-License-Identifier: BSD-3-Clause
#include "auth/key_exchange.hpp"

#include <openssl/core_names.h>
#include <openssl/dh.h>
#include <openssl/ec.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>

#include "auth/evp.hpp"
#include "auth/hkdf.hpp"
#include "auth/x509.hpp"

namespace flowfs::auth {
namespace {

constexpr const char* kMlKem = "ML-KEM-768";
constexpr std::size_t kMlKemKey = 1184;
constexpr std::size_t kMlKemCiphertext = 1088;
constexpr std::byte kUncompressed{4};  // the form of a point that every share of a curve has

// How OpenSSL is asked for a key pair of the Diffie-Hellman part.
struct Group {
  const char* type;
  const char* name;  // null where the type says it all
};

Group group_of(KeyExchange kind) {
  switch (kind) {
    case KeyExchange::x25519:
    case KeyExchange::x25519_ml_kem_768:
    case KeyExchange::x25519_ml_kem_768_client:
      return {"X25519", nullptr};
    case KeyExchange::x448:
      return {"X448", nullptr};
    case KeyExchange::p256:
      return {"EC", "P-256"};
    case KeyExchange::p384:
      return {"EC", "P-384"};
    case KeyExchange::p521:
      return {"EC", "P-521"};
    case KeyExchange::ffdhe2048:
      return {"DH", "ffdhe2048"};
    case KeyExchange::ffdhe3072:
      return {"DH", "ffdhe3072"};
    case KeyExchange::ffdhe4096:
      return {"DH", "ffdhe4096"};
    case KeyExchange::ml_kem_768:
    case KeyExchange::ml_kem_768_client:
    case KeyExchange::none:
      break;
  }
  return {nullptr, nullptr};
}

// All that are post-quantum are a KEM, alone or beside Diffie-Hellman.
bool has_kem(KeyExchange kind) { return find(kind)->post_quantum; }

// How much of an offer, and of the answer to it, is the KEM's; the rest is Diffie-Hellman's.
std::size_t kem_bytes_of_offer(KeyExchange kind) {
  return find(kind)->server_key ? KemKey::kIdBytes + kMlKemCiphertext : kMlKemKey;
}
std::size_t kem_bytes_of_answer(KeyExchange kind) {
  return find(kind)->server_key ? 0 : kMlKemCiphertext;
}

PkeyPtr generate_pair(const Group& group) {
  const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(nullptr, group.type, nullptr));
  if (context == nullptr || EVP_PKEY_keygen_init(context.get()) != 1 ||
      (group.name != nullptr && EVP_PKEY_CTX_set_group_name(context.get(), group.name) != 1)) {
    return nullptr;
  }
  EVP_PKEY* pair = nullptr;
  EVP_PKEY_keygen(context.get(), &pair);
  return PkeyPtr(pair);
}

// Appends the public half of `pair`.
bool append_public(Bytes& to, EVP_PKEY* pair) {
  unsigned char* encoded = nullptr;
  const std::size_t size = EVP_PKEY_get1_encoded_public_key(pair, &encoded);
  const EncodedPtr owned(encoded);
  append(to, std::as_bytes(std::span(encoded, size)));
  return size > 0;
}

// The secret of our pair and their public half. OpenSSL checks that theirs lies on the curve, or in
// the group, and refuses a result of zeros.
Result<Secret> agree(EVP_PKEY* ours, View theirs) {
  const PkeyPtr peer(EVP_PKEY_new());
  const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(nullptr, ours, nullptr));
  if (EVP_PKEY_is_a(ours, "EC") == 1 && theirs.front() != kUncompressed) {
    return fail(EKEYREJECTED, "key share");
  }
  std::size_t size = 0;
  if (peer == nullptr || context == nullptr || EVP_PKEY_copy_parameters(peer.get(), ours) != 1 ||
      EVP_PKEY_set1_encoded_public_key(peer.get(), raw(theirs), theirs.size()) != 1 ||
      EVP_PKEY_derive_init(context.get()) != 1 ||
      (EVP_PKEY_is_a(ours, "DH") == 1 && EVP_PKEY_CTX_set_dh_pad(context.get(), 1) != 1) ||
      EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1 ||
      EVP_PKEY_derive(context.get(), nullptr, &size) != 1) {
    return fail(EKEYREJECTED, "key share");
  }
  Secret secret(size);
  if (EVP_PKEY_derive(context.get(), raw_out(secret.writable()), &size) != 1 ||
      size != secret.bytes().size()) {
    return fail(EKEYREJECTED, "key share");
  }
  return secret;
}

struct Encapsulated {
  Bytes material;
  Secret secret;
};

Result<Encapsulated> encapsulate(EVP_PKEY* peer) {
  const PkeyCtxPtr context(peer == nullptr ? nullptr
                                           : EVP_PKEY_CTX_new_from_pkey(nullptr, peer, nullptr));
  std::size_t material = 0;
  std::size_t secret = 0;
  if (context == nullptr || EVP_PKEY_encapsulate_init(context.get(), nullptr) != 1 ||
      EVP_PKEY_encapsulate(context.get(), nullptr, &material, nullptr, &secret) != 1) {
    return fail(EKEYREJECTED, "KEM key");
  }
  Encapsulated result{.material = Bytes(material), .secret = Secret(secret)};
  if (EVP_PKEY_encapsulate(context.get(), raw_out(result.material), &material,
                           raw_out(result.secret.writable()), &secret) != 1) {
    return fail(EKEYREJECTED, "KEM key");
  }
  return result;
}

Result<Encapsulated> encapsulate(View public_key) {
  const PkeyPtr peer(
      EVP_PKEY_new_raw_public_key_ex(nullptr, kMlKem, nullptr, raw(public_key), public_key.size()));
  return encapsulate(peer.get());
}

Result<Secret> decapsulate(EVP_PKEY* key, View material) {
  ERR_clear_error();  // what is there afterwards is of this decapsulation
  const ErrorMark mark;
  const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  std::size_t size = 0;
  if (context == nullptr || EVP_PKEY_decapsulate_init(context.get(), nullptr) != 1 ||
      EVP_PKEY_decapsulate(context.get(), nullptr, &size, raw(material), material.size()) != 1) {
    return fail(EKEYREJECTED, "KEM material");
  }
  Secret secret(size);
  if (EVP_PKEY_decapsulate(context.get(), raw_out(secret.writable()), &size, raw(material),
                           material.size()) != 1) {
    return fail(EKEYREJECTED, "KEM material");
  }
  // Without the memory that it wants OpenSSL answers as if the material were wrong: with a secret
  // that the other side does not have.
  if (ERR_peek_error() != 0) {
    return fail(ENOMEM, "KEM material");
  }
  return secret;
}

// Both secrets are wanted for the result, and the shares that they came from.
Result<Secret> combine(const Secret& kem, const Secret& agreed, View offer, View answer) {
  Secret both(kem.bytes().size() + agreed.bytes().size());
  std::ranges::copy(kem.bytes(), both.writable().begin());
  std::ranges::copy(agreed.bytes(), both.writable().subspan(kem.bytes().size()).begin());
  auto shares = hash(Digest::sha256, {offer, answer});
  return shares ? hkdf(Digest::sha256, both.bytes(), *shares, "flowfs x25519+ml-kem-768", 32)
                : Result<Secret>(std::unexpected(shares.error()));
}

// The KEM's part of an answer: what came of it, and what is sent back.
Result<Encapsulated> answer_kem(KeyExchange kind, View offer, const KemKey* server_key) {
  if (!find(kind)->server_key) {
    return encapsulate(offer);
  }
  if (server_key == nullptr ||
      !std::ranges::equal(offer.first(KemKey::kIdBytes), server_key->id())) {
    return fail(ENOKEY, "KEM key");
  }
  auto secret = decapsulate(server_key->get(), offer.subspan(KemKey::kIdBytes));
  if (!secret) {
    return std::unexpected(secret.error());
  }
  return Encapsulated{.material = {}, .secret = std::move(*secret)};
}

}  // namespace

void EphemeralKey::Free::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

Result<EphemeralKey> EphemeralKey::generate(KeyExchange kind, const KemKey* server_key) {
  if (!available(kind) || (find(kind)->server_key && server_key == nullptr)) {
    return fail(EOPNOTSUPP, "key exchange");
  }
  EphemeralKey key(kind);
  if (find(kind)->server_key) {
    auto done = encapsulate(server_key->get());
    if (!done) {
      return std::unexpected(done.error());
    }
    append(key.offer_, server_key->id());
    append(key.offer_, done->material);
    key.encapsulated_ = std::move(done->secret);
  } else if (has_kem(kind)) {
    key.kem_.reset(generate_pair({kMlKem, nullptr}).release());
    if (key.kem_ == nullptr || !append_public(key.offer_, key.kem_.get())) {
      return fail(EOPNOTSUPP, "key exchange");
    }
  }
  if (const Group group = group_of(kind); group.type != nullptr) {
    key.agreement_.reset(generate_pair(group).release());
    if (key.agreement_ == nullptr || !append_public(key.offer_, key.agreement_.get())) {
      return fail(EOPNOTSUPP, "key exchange");
    }
  }
  return key;
}

Result<Secret> EphemeralKey::finish_kem(View answer) const {
  if (kem_ != nullptr) {
    return decapsulate(kem_.get(), answer);
  }
  Secret copy(encapsulated_.bytes().size());
  std::ranges::copy(encapsulated_.bytes(), copy.writable().begin());
  return copy;
}

Result<Secret> EphemeralKey::finish(View answer) const {
  if (answer.size() != find(kind_)->answer_bytes) {
    return fail(EKEYREJECTED, "key share");
  }
  if (!has_kem(kind_)) {
    return agree(agreement_.get(), answer);
  }
  const std::size_t kem_bytes = kem_bytes_of_answer(kind_);
  auto kem = finish_kem(answer.first(kem_bytes));
  if (agreement_ == nullptr || !kem) {
    return kem;
  }
  const auto agreed = agree(agreement_.get(), answer.subspan(kem_bytes));
  return agreed ? combine(*kem, *agreed, offer_, answer)
                : Result<Secret>(std::unexpected(agreed.error()));
}

Result<Answer> answer_offer(KeyExchange kind, View offer, const KemKey* server_key) {
  if (!available(kind)) {
    return fail(EOPNOTSUPP, "key exchange");
  }
  if (offer.size() != find(kind)->offer_bytes) {
    return fail(EKEYREJECTED, "key share");
  }
  Answer answer;
  Secret kem;
  if (has_kem(kind)) {
    auto done = answer_kem(kind, offer.first(kem_bytes_of_offer(kind)), server_key);
    if (!done) {
      return std::unexpected(done.error());
    }
    answer.share = std::move(done->material);
    kem = std::move(done->secret);
  }
  if (const Group group = group_of(kind); group.type != nullptr) {
    const PkeyPtr pair = generate_pair(group);
    if (pair == nullptr || !append_public(answer.share, pair.get())) {
      return fail(EOPNOTSUPP, "key exchange");
    }
    auto agreed =
        agree(pair.get(), has_kem(kind) ? offer.subspan(kem_bytes_of_offer(kind)) : offer);
    if (agreed && has_kem(kind)) {
      agreed = combine(kem, *agreed, offer, answer.share);
    }
    if (!agreed) {
      return std::unexpected(agreed.error());
    }
    kem = std::move(*agreed);
  }
  answer.secret = std::move(kem);
  return answer;
}

}  // namespace flowfs::auth
