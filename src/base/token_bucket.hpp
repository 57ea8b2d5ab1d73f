// SPDX-License-Identifier: BSD-3-Clause
// Tokens that come at a steady rate, up to a tenth of a second's worth.
//
// Threads: one at a time.
#pragma once

#include "base/clock.hpp"

namespace flowfs {

class TokenBucket {
 public:
  // Takes a token if there is one; `rate` is a second's worth.
  bool take(double rate, Instant now);
  // When the next token comes.
  [[nodiscard]] Instant next(double rate) const;

 private:
  double tokens_ = 0;
  Instant filled_{};
};

}  // namespace flowfs
