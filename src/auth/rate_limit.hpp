// SPDX-License-Identifier: BSD-3-Clause
// How many handshakes a second one source may ask for, so that none can have signatures checked all
// day at the cost of the others.
//
// Shape: a bucket for each source that was active lately, up to `kMostSources`; those beyond share
// one, so that a crowd of made-up sources costs no memory and slows itself down.
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "base/clock.hpp"
#include "base/token_bucket.hpp"

namespace flowfs::auth {

class RateLimit {
 public:
  static constexpr std::size_t kMostSources = 4096;

  explicit RateLimit(double rate) : rate_(rate) {}

  // Counts a handshake of `source` (a uid, a hash of an address), or refuses it.
  bool admit(std::uint64_t source, Instant now);
  [[nodiscard]] std::size_t sources() const { return sources_.size(); }

 private:
  struct Source {
    TokenBucket bucket;
    Instant last{};
  };
  void forget_idle(Instant now);

  double rate_;
  std::unordered_map<std::uint64_t, Source> sources_;
  TokenBucket others_;
};

}  // namespace flowfs::auth
