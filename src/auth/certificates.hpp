// SPDX-License-Identifier: BSD-3-Clause
// Whether a chain of certificates is to be believed: who signed it, for what, until when, for which
// name.
//
// Source: RFC 5280 as OpenSSL checks it, at its security level 2 (112 bits). Stricter in what the
// leaf must say itself: the purpose in extendedKeyUsage, digitalSignature where it has a keyUsage,
// and the name among its alternative names, byte for byte and without wildcards. The common name is
// never looked at but to say why a chain is refused.
// Threads: a Trust is filled by one and may then be used by any number at once.
// Errors: of the text, as in credentials.hpp. Out of memory nothing is believed that would not be
// otherwise: a Verdict that refuses, a failure, or std::bad_alloc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "auth/credentials.hpp"
#include "base/result.hpp"

struct x509_store_st;  // OpenSSL's X509_STORE

namespace flowfs::auth {

enum class Verdict : std::uint8_t {
  ok,
  no_certificate,
  malformed,
  untrusted,
  bad_signature,
  expired,
  not_yet_valid,
  revoked,
  stale_revocations,
  wrong_name,
  only_common_name,
  wrong_purpose,
  not_an_authority,
  too_deep,
  weak_key,
  refused,
};

struct VerdictInfo {
  Verdict code;
  int error;               // errno at the opener of `dial`; 0 for ok
  std::string_view name;   // one word, for scripts
  std::string_view words;  // for people
};

std::span<const VerdictInfo> all(Verdict);
const VerdictInfo& info(Verdict verdict);

enum class Purpose : std::uint8_t { server, client };

// A time within which nothing changes; never, unless it is said.
struct Period {
  std::time_t from = 0;
  std::time_t until = 0;  // the first moment behind it

  [[nodiscard]] bool has(std::time_t at) const { return from <= at && at < until; }
};

// Who is believed.
class Trust {
 public:
  // At most this many of each kind, so that a directory cannot fill the daemon.
  static constexpr std::size_t kMost = 256;

  Trust();

  // Each takes all that the text holds, or nothing.
  Status add_authorities(std::string_view pem);
  // Certificates that complete a chain which came without them; nobody believes them by themselves.
  Status add_intermediates(std::string_view pem);
  // Lists of revoked certificates. An authority with a list must have one that is in force; one
  // without has revoked nothing.
  Status add_revocations(std::string_view pem);

  // Everything of another one, or all but its authorities.
  enum class Share { all, no_authorities };
  Status add(const Trust& other, Share share);

  [[nodiscard]] std::size_t authorities() const { return authorities_; }
  // A hash of all that was added: two with the same mark believe the same. Empty where there is
  // none, as memory ran out.
  [[nodiscard]] View mark() const { return mark_; }

 private:
  friend Verdict verify_chain(std::span<const Certificate> chain, const Trust& trust,
                              std::string_view name, Purpose purpose, std::time_t at,
                              Period* lasts);
  struct Free {
    void operator()(x509_store_st* store) const;
  };

  std::unique_ptr<x509_store_st, Free> store_;
  std::vector<Certificate> intermediates_;
  std::size_t authorities_ = 0;
  std::size_t revocations_ = 0;
  // Takes the mark away while something is added, and gives the next one once it has been.
  class Marking;
  Bytes mark_ = Bytes(32);
};

// The leaf comes first, what leads to its authority behind it, in any order. `name` is that of the
// flow: the leaf must be called it, as DNS or as URI `flowfs:NAME`. Where the verdict is ok,
// `lasts` gets when it would be so as well.
Verdict verify_chain(std::span<const Certificate> chain, const Trust& trust, std::string_view name,
                     Purpose purpose, std::time_t at, Period* lasts = nullptr);

}  // namespace flowfs::auth
