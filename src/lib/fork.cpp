// SPDX-License-Identifier: BSD-3-Clause
#include "lib/fork.hpp"

#include <pthread.h>

#include <mutex>
#include <unordered_set>

#include "lib/end.hpp"
#include "lib/pool_member.hpp"
#include "lib/status_map.hpp"

namespace flowfs::lib {
namespace {

struct Ends {
  std::mutex mutex;
  std::unordered_set<End*> set;
};

// Never destroyed: a handle may be closed, or a child forked, while the process ends.
Ends& ends() {
  static Ends* const all = [] {
    auto* made = new Ends;
    // Held over the fork, so that the child finds the set whole.
    ::pthread_atfork(
        [] {
          ends().mutex.lock();
          PoolMember::living().before_fork();
          StatusMap::living().before_fork();
        },
        [] {
          StatusMap::living().after_fork(false);
          PoolMember::living().after_fork(false);
          ends().mutex.unlock();
        },
        [] {
          StatusMap::living().after_fork(true);
          PoolMember::living().after_fork(true);
          for (End* end : ends().set) {
            end->abandon();
          }
          ends().set.clear();
          ends().mutex.unlock();
        });
    return made;
  }();
  return *all;
}

}  // namespace

void remember(End& end) {
  const std::lock_guard lock(ends().mutex);
  ends().set.insert(&end);
}

void forget(End& end) {
  const std::lock_guard lock(ends().mutex);
  ends().set.erase(&end);
}

}  // namespace flowfs::lib
