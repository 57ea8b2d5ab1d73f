// SPDX-License-Identifier: BSD-3-Clause
// Gives pools the memory of their classes, which for many megabytes takes longer than the loop may:
// a worker allocates it, while whoever asked waits and everybody else is served.
//
// Threads: the loop's; the worker touches nothing but the memory of the pool.
// Owns: the worker, and what is under way. Destroyed before the pools, it waits for the worker.
// Invariants:
//   1. A class is being filled once at a time; whoever asks meanwhile waits for the same.
//   2. What is under way is charged, and keeps its pool, whatever becomes of those who asked.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "base/worker.hpp"
#include "fs/parking.hpp"
#include "fs/pools.hpp"
#include "fs/request.hpp"

namespace flowfs::fs {

class PoolFiller {
 public:
  // As much is allocated on the loop.
  static constexpr std::uint64_t kAtOnce = 1U << 20;

  PoolFiller(Loop& loop, Pools& pools, Parking& parking, Replies& replies)
      : loop_(loop), pools_(pools), parking_(parking), replies_(replies) {}
  ~PoolFiller() { worker_.reset(); }
  PoolFiller(const PoolFiller&) = delete;
  PoolFiller& operator=(const PoolFiller&) = delete;

  // FLOWFS_IOC_POOL_CLASS: answers the request when the class is there. Errors: as Pools::populate;
  // those of parking.
  void fill(Request request, Pool& pool, unsigned class_index);
  // Ends every wait.
  void abort_all(int error);

 private:
  using Key = std::pair<PoolSerial, unsigned>;
  struct Filling {
    Filling(PoolUse pool, registry::Charge bytes, Parking& parking)
        : use(std::move(pool)), charge(std::move(bytes)), waits(parking) {}
    PoolUse use;
    registry::Charge charge;
    Pools::Filled filled;  // by the worker
    Waits waits;
  };
  void begin(Request request, Pool& pool, unsigned class_index);
  void end(Key key);

  Loop& loop_;
  Pools& pools_;
  Parking& parking_;
  Replies& replies_;
  std::map<Key, std::unique_ptr<Filling>> under_way_;
  std::unique_ptr<Workers> worker_;  // from the first that takes long
};

}  // namespace flowfs::fs
