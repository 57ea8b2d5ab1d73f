// SPDX-License-Identifier: BSD-3-Clause
#include "base/memory_reserve.hpp"

#include <sys/mman.h>

#include <atomic>
#include <new>

namespace flowfs::memory_reserve {
namespace {

// The block, or null when it is spent (or was never put by).
std::atomic<void*> reserve{nullptr};
std::atomic<bool> installed{false};

// Mapped, not allocated: what it takes from the allocator's reach is given back at once and whole.
// Populated, so that it is really ours.
void* put_by() {
  void* block = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  return block == MAP_FAILED ? nullptr : block;
}

void on_failure() {
  void* block = reserve.exchange(nullptr);  // seq_cst: rare, and one thread wins
  if (block == nullptr) {
    throw std::bad_alloc();
  }
  munmap(block, kBytes);
}

}  // namespace

void install() {
  reserve.store(put_by());  // seq_cst: once, before there are threads
  installed.store(true);
  std::set_new_handler(on_failure);
}

bool exhausted() {
  // relaxed: a stale look only lets one more request in, or keeps one out.
  if (reserve.load(std::memory_order_relaxed) != nullptr ||
      !installed.load(std::memory_order_relaxed)) {
    return false;
  }
  void* block = put_by();
  void* none = nullptr;
  if (block == nullptr) {
    return true;
  }
  if (!reserve.compare_exchange_strong(none, block)) {
    munmap(block, kBytes);  // another thread has done it
  }
  return false;
}

}  // namespace flowfs::memory_reserve
