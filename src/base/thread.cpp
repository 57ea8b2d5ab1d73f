// SPDX-License-Identifier: BSD-3-Clause
#include "base/thread.hpp"

#include <pthread.h>

#include <csignal>
#include <string>
#include <utility>

namespace flowfs {

std::thread start_thread(const char* name, std::function<void()> body) {
  // The new thread inherits the mask: it must not run a moment without it.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread.native_handle(), std::string(name).substr(0, 15).c_str());
  return thread;
}

}  // namespace flowfs
