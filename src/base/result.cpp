// SPDX-License-Identifier: BSD-3-Clause
#include "base/result.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace flowfs {

std::string Failure::message() const {
  const std::string reason = std::generic_category().message(error);
  return *context == '\0' ? reason : fmt::format("{}: {}", context, reason);
}

void check_failed(const char* expression, const char* file, int line) {
  // stdio and not the log: the broken invariant may be the log's own.
  (void)std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, expression);
  std::abort();
}

}  // namespace flowfs
