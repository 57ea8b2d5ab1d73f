// SPDX-License-Identifier: BSD-3-Clause
// Memory that a process shares with those it forks.
#pragma once

#include <sys/mman.h>

#include <memory>
#include <new>

#include "processes.hpp"

namespace flowfs::bench {

// Gone with the last process that has it.
template <typename T>
std::shared_ptr<T> share() {
  void* const place = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (place == MAP_FAILED) {
    die("mmap");
  }
  return std::shared_ptr<T>(new (place) T, [](T* shared) { munmap(shared, sizeof(T)); });
}

// Between two looks at what another processor is about to write.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace flowfs::bench
