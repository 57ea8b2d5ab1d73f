// SPDX-License-Identifier: BSD-3-Clause
// What the functions of the C ABI share: arguments checked, failures turned into errno, no
// exception let out.
#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <new>
#include <system_error>
#include <type_traits>

#include "flowfs/flowfs.h"
#include "lib/end.hpp"

struct flowfs_handle {
  std::unique_ptr<flowfs::lib::End> end;
};

namespace flowfs::lib {

inline Wait wait_of(std::int64_t timeout_us) {
  if (timeout_us == 0) {
    return kAtOnce;
  }
  return timeout_us < 0 ? Wait::for_ever() : Wait::at_most(Micros(timeout_us));
}

// Runs `body`, which returns a Result; its value (0 where it has none), or `failed` and errno.
template <typename T, typename Body>
T guarded(T failed, Body body) {
  try {
    auto result = body();
    if (result) {
      if constexpr (std::is_same_v<decltype(result), Status>) {
        return T{};
      } else {
        return static_cast<T>(*result);
      }
    }
    errno = result.error().error;
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  } catch (const std::system_error& error) {
    errno = error.code().value();
  }
  return failed;
}

}  // namespace flowfs::lib
