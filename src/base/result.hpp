// SPDX-License-Identifier: BSD-3-Clause
// Failures that are forwarded unchanged: an errno and where it arose.
//
// Three kinds of error are kept apart (docs/architecture.md): an *outcome* the caller must handle
// is an enum of its own; a *failure* is Result<T>; a broken invariant of our own state is CHECK.
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <utility>

namespace flowfs {

// A failed operation. `context` is a string literal that names the step which failed.
struct Failure {
  int error = 0;  // errno, never 0
  const char* context = "";

  [[nodiscard]] std::string message() const;  // "context: strerror"
};

template <typename T>
using Result = std::expected<T, Failure>;

using Status = Result<void>;

inline std::unexpected<Failure> fail(int error, const char* context = "") {
  return std::unexpected(Failure{error, context});
}

// The failure of a call that has just set errno.
inline std::unexpected<Failure> fail_errno(const char* context) { return fail(errno, context); }

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace flowfs

// A broken invariant of our own private state: never for input from clients, files or the wire.
#define FLOWFS_CHECK(expression)                               \
  do {                                                         \
    if (!(expression)) [[unlikely]] {                          \
      ::flowfs::check_failed(#expression, __FILE__, __LINE__); \
    }                                                          \
  } while (false)
