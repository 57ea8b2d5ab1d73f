// SPDX-License-Identifier: BSD-3-Clause
// A secret that two sides share after one message each way.
//
// The side that offers keeps an EphemeralKey and sends its share; the other answers with a share of
// its own (or, for a KEM, with what it encapsulated) and has the secret already. Keys are made for
// one handshake and used once, so what is recorded today cannot be read with a key stolen tomorrow.
// X25519 with ML-KEM-768 runs both and hashes the two secrets together with both shares: whoever
// wants the result must break both.
// Of a KEM either side encapsulates: mostly the one that answers, to the key that was offered; else
// the one that offers, to a key that the other has had before. Its offer is that key's id and the
// ciphertext.
//
// Threads: any, one at a time for each key.
// Errors: EOPNOTSUPP: this OpenSSL does not have it; EKEYREJECTED: the other side's share is not
// one (its length, a point that is on no curve, a degenerate result); ENOKEY: it is for a key that
// this side does not have.
// Owns: an EphemeralKey its private keys, which OpenSSL zeroes.
#pragma once

#include <memory>
#include <utility>

#include "auth/algorithms.hpp"
#include "auth/bytes.hpp"
#include "auth/kem_key.hpp"
#include "base/result.hpp"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace flowfs::auth {

class EphemeralKey {
 public:
  // `server_key` is used where the kind wants it.
  static Result<EphemeralKey> generate(KeyExchange kind, const KemKey* server_key = nullptr);

  [[nodiscard]] KeyExchange kind() const { return kind_; }
  [[nodiscard]] const Bytes& offer() const { return offer_; }
  // The secret, from what the other side answered.
  [[nodiscard]] Result<Secret> finish(View answer) const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  using Key = std::unique_ptr<evp_pkey_st, Free>;
  explicit EphemeralKey(KeyExchange kind) : kind_(kind) {}
  [[nodiscard]] Result<Secret> finish_kem(View answer) const;

  KeyExchange kind_;
  Key agreement_;        // Diffie-Hellman; null for a KEM alone
  Key kem_;              // null but where the other side encapsulates
  Secret encapsulated_;  // by this side; empty otherwise
  Bytes offer_;
};

struct Answer {
  Bytes share;
  Secret secret;
};

Result<Answer> answer_offer(KeyExchange kind, View offer, const KemKey* server_key = nullptr);

}  // namespace flowfs::auth
