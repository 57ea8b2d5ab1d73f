// SPDX-License-Identifier: BSD-3-Clause
#include "pool/fault_guard.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <functional>

namespace flowfs::pool {

namespace {

constinit thread_local std::atomic<FaultGuard*> t_innermost = nullptr;
std::size_t g_page_bytes = 0;  // set by install(), before any guard

bool contains(std::span<const std::byte> range, const std::byte* address) {
  const std::less_equal<> at_most;
  const std::less<> below;
  return at_most(range.data(), address) && below(address, range.data() + range.size());
}

bool replace_page(std::byte* address) {
  const auto offset = reinterpret_cast<std::uintptr_t>(address) % g_page_bytes;
  return ::mmap(address - offset, g_page_bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

}  // namespace

struct FaultHandler {
  // Synchronous: the thread is inside the access that faulted, holds no lock of ours, and
  // everything called here is a plain system call.
  static void handle(int signal, siginfo_t* info, void* /*context*/) {
    const int saved_errno = errno;
    auto* address = static_cast<std::byte*>(info->si_addr);
    for (auto* guard = t_innermost.load(std::memory_order_relaxed); guard != nullptr;
         guard = guard->outer_) {
      for (const auto range : guard->ranges_) {
        if (contains(range, address) && replace_page(address)) {
          guard->faulted_.store(true, std::memory_order_relaxed);
          errno = saved_errno;
          return;
        }
      }
    }
    // Not ours: the access is repeated under the default action and ends the process.
    struct sigaction deadly = {};
    deadly.sa_handler = SIG_DFL;
    ::sigaction(signal, &deadly, nullptr);
  }
};

Status FaultGuard::install() {
  g_page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  struct sigaction action = {};
  action.sa_sigaction = &FaultHandler::handle;
  action.sa_flags = SA_SIGINFO;
  if (::sigaction(SIGBUS, &action, nullptr) != 0) {
    return fail_errno("sigaction(SIGBUS)");
  }
  return {};
}

FaultGuard::FaultGuard(std::span<const std::byte> one, std::span<const std::byte> two)
    : outer_(t_innermost.load(std::memory_order_relaxed)), ranges_{one, two} {
  // relaxed: read only by this thread and by its own signal handler; the signal fences keep the
  // compiler from moving a guarded access out of the guard.
  t_innermost.store(this, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

FaultGuard::~FaultGuard() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  t_innermost.store(outer_, std::memory_order_relaxed);
}

}  // namespace flowfs::pool
