// SPDX-License-Identifier: BSD-3-Clause
// Words of memory that two processes use at once.
//
// wire.h declares them as plain integers, since it is C too; here they are used as the atomics they
// are. The caller names the order and its partner.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/futex.hpp"
#include "flowfs/wire.h"

namespace flowfs::pool {

template <typename T>
std::atomic_ref<T> shared(T& word) {
  static_assert(std::atomic_ref<T>::is_always_lock_free);
  return std::atomic_ref<T>(word);
}

// A word of a mapping that may be read-only: only load() is legal.
template <typename T>
std::atomic_ref<T> shared(const T& word) {
  static_assert(std::atomic_ref<T>::is_always_lock_free, "a load must not write");
  // atomic_ref<const T> is C++26. NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast)
  return std::atomic_ref<T>(const_cast<T&>(word));
}

inline const FutexWord* futex_word(const std::uint32_t& word) {
  return reinterpret_cast<const FutexWord*>(&word);
}

inline flowfs_segment& segment_header(std::span<std::byte> segment) {
  return *reinterpret_cast<flowfs_segment*>(segment.data());
}
inline const flowfs_segment& segment_header(std::span<const std::byte> segment) {
  return *reinterpret_cast<const flowfs_segment*>(segment.data());
}

}  // namespace flowfs::pool
