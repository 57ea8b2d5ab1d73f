// SPDX-License-Identifier: BSD-3-Clause
#include "base/token_bucket.hpp"

#include <algorithm>
#include <cstdint>

namespace flowfs {
namespace {

constexpr double kBurstSeconds = 0.1;

}  // namespace

bool TokenBucket::take(double rate, Instant now) {
  const double most = std::max(1.0, rate * kBurstSeconds);
  const double since = std::chrono::duration<double>(now - filled_).count();
  tokens_ = std::min(most, tokens_ + rate * since);
  filled_ = now;
  if (tokens_ < 1) {
    return false;
  }
  tokens_ -= 1;
  return true;
}

Instant TokenBucket::next(double rate) const {
  const double wait_us = std::max(0.0, (1 - tokens_) / rate * 1e6);
  return later(filled_, Micros(static_cast<std::int64_t>(wait_us) + 1));
}

}  // namespace flowfs
