// SPDX-License-Identifier: BSD-3-Clause
// Chains that were found good lately. Whoever comes with one of them again is not checked all over:
// reading certificates and checking how they are signed is a good part of what a handshake costs.
//
// Shape: a chain is known by the hash of its certificates, of everything that is believed, of the
// name and of the purpose: all that the verdict depends on, but for the time, which is looked at
// each time. So nothing has to be told when a list of revoked certificates or an authority changes.
// Only what was found good is remembered: nobody who is refused takes room.
// Threads: one at a time.
// Errors: the Verdict.
#pragma once

#include <cstddef>
#include <ctime>
#include <expected>
#include <map>
#include <span>
#include <string_view>

#include "auth/bytes.hpp"
#include "auth/certificates.hpp"
#include "auth/credentials.hpp"

namespace flowfs::auth {

class KnownChains {
 public:
  // At `most` chains, all are forgotten.
  explicit KnownChains(std::size_t most = 1'024) : most_(most) {}

  // As verify_chain(), of certificates as they come in a header. The leaf, where all is well.
  std::expected<Certificate, Verdict> check(std::span<const Bytes> chain, const Trust& trust,
                                            std::string_view name, Purpose purpose, std::time_t at);

  [[nodiscard]] std::size_t size() const { return known_.size(); }

 private:
  struct Known {
    Certificate leaf;
    Period lasts;
  };

  std::size_t most_;
  std::map<Bytes, Known> known_;
};

}  // namespace flowfs::auth
