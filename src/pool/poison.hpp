// SPDX-License-Identifier: BSD-3-Clause
// Under AddressSanitizer, bytes of a block that this process must not touch now; else nothing. Only
// this process's own mapping is meant: each member poisons for itself.
#pragma once

#include <cstddef>
#include <span>

#if defined(__SANITIZE_ADDRESS__)
#define FLOWFS_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FLOWFS_POISONS 1
#endif
#endif

#ifdef FLOWFS_POISONS
#include <sanitizer/asan_interface.h>
#endif

namespace flowfs::pool {

#ifdef FLOWFS_POISONS
inline constexpr bool kPoisons = true;
inline void poison(std::span<std::byte> bytes) {
  __asan_poison_memory_region(bytes.data(), bytes.size());
}
inline void unpoison(std::span<std::byte> bytes) {
  __asan_unpoison_memory_region(bytes.data(), bytes.size());
}
#else
inline constexpr bool kPoisons = false;
inline void poison(std::span<std::byte> /*bytes*/) {}
inline void unpoison(std::span<std::byte> /*bytes*/) {}
#endif

}  // namespace flowfs::pool
