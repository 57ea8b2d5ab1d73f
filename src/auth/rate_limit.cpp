// SPDX-License-Identifier: BSD-3-Clause
#include "auth/rate_limit.hpp"

#include <chrono>

namespace flowfs::auth {
namespace {

// After this long a bucket is as full as a new one: it holds a tenth of a second's worth, or one
// token, and no rate is below one a second.
constexpr std::chrono::seconds kIdle{1};

}  // namespace

bool RateLimit::admit(std::uint64_t source, Instant now) {
  auto found = sources_.find(source);
  if (found == sources_.end()) {
    if (sources_.size() >= kMostSources) {
      forget_idle(now);
    }
    if (sources_.size() >= kMostSources) {
      return others_.take(rate_, now);
    }
    found = sources_.try_emplace(source).first;
  }
  found->second.last = now;
  return found->second.bucket.take(rate_, now);
}

void RateLimit::forget_idle(Instant now) {
  std::erase_if(sources_, [now](const auto& entry) { return now - entry.second.last > kIdle; });
}

}  // namespace flowfs::auth
