// SPDX-License-Identifier: BSD-3-Clause
// The pools of the tree: pools/shared and pools/UID (docs/dataplane.md, "Pools").
//
// A pool is made when somebody who may have it looks it up, its memory when it is first opened, the
// blocks of a class when a member asks for them. A moment after its last user has gone it goes too;
// the next look-up makes another, under another serial and another inode.
//
// Threads: the loop's.
// Errors: Result carries the errno for the caller.
// Owns: the pools, their memory, and what that is charged to: the uid whose pool it is, root for
// the shared one.
// Invariants:
//   1. A pool is in `pools_` as long as a PoolUse refers to it.
//   2. `by_owner_` names the pool that a look-up finds now. One that had to be given up is in
//      `pools_` alone, until its users are gone.
//   3. The timer is armed only while a pool has something to sweep or has no user.
#pragma once

#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/loop.hpp"
#include "flowfs/wire.h"
#include "fs/backings.hpp"
#include "fs/pool_options.hpp"
#include "pool/pool_keeper.hpp"
#include "pool/pool_memory.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

enum class PoolSerial : std::uint64_t {};  // never used again, nor by a later daemon

// Whose a pool is: a uid's own; nobody's alone: the shared one.
using PoolOwner = std::optional<uid_t>;
std::string to_string(PoolOwner owner);  // the name of its file

// The memory of a pool and what goes with it.
struct PoolStore {
  PoolStore(pool::PoolMemory made, registry::Charge charge)
      : table(std::move(charge)),
        memory(std::move(made)),
        keeper(std::make_unique<pool::PoolKeeper>(memory.geometry(), memory.bytes(),
                                                  memory.serial())) {}

  registry::Charge table;                        // header, words and hints
  std::map<unsigned, registry::Charge> classes;  // of the blocks that are there
  pool::PoolMemory memory;
  std::unique_ptr<pool::PoolKeeper> keeper;
  Backing backing;
};

struct Pool {
  PoolSerial serial{};
  PoolOwner owner;
  pool::PoolGeometry geometry;
  timespec born{};
  std::unique_ptr<PoolStore> store;  // from the first open on
  std::size_t users = 0;
  Instant unused_since{};  // while there are none
  Instant swept{};         // last
  bool given_up = false;   // its memory has failed: nobody is let in, nothing is reclaimed
};

class Pools;

// Keeps a pool. Move-only.
class PoolUse {
 public:
  PoolUse(Pools& pools, Pool& pool);
  PoolUse(PoolUse&& other) noexcept
      : pools_(other.pools_), pool_(std::exchange(other.pool_, nullptr)) {}
  PoolUse& operator=(PoolUse&& other) noexcept;
  ~PoolUse() { reset(); }

  [[nodiscard]] Pools& pools() const { return *pools_; }
  [[nodiscard]] Pool& operator*() const { return *pool_; }
  [[nodiscard]] Pool* operator->() const { return pool_; }
  [[nodiscard]] pool::PoolKeeper& keeper() const { return *pool_->store->keeper; }

 private:
  void reset();
  Pools* pools_;
  Pool* pool_;
};

class Pools {
 public:
  // How long a pool without users is kept, for whoever comes at once.
  static constexpr Micros kLinger{1'000'000};

  Pools(Loop& loop, registry::Users& users, Backings& backings);
  ~Pools();
  Pools(const Pools&) = delete;
  Pools& operator=(const Pools&) = delete;

  // For pools that are made from now on. The sizes and shards can be laid out.
  void configure(const PoolOptions& options);
  // Makes the shared pool and keeps it, where the configuration wants it from the start.
  void prefault();
  [[nodiscard]] std::optional<gid_t> group() const { return options_.group; }

  // The pool of an owner now, or a new one.
  Pool& find_or_make(PoolOwner owner);
  [[nodiscard]] Pool* find(PoolOwner owner) const;
  [[nodiscard]] Pool* find(PoolSerial serial) const;
  // The first personal pool of `first` or a greater uid.
  [[nodiscard]] Pool* personal_from(std::uint64_t first) const;

  // There is memory that can be mapped afterwards. Errors: EOPNOTSUPP files of this mount cannot
  // be; EDQUOT, ENFILE; those of memfd_create, fallocate, mmap.
  Result<PoolUse> open(Pool& pool);
  // FLOWFS_IOC_POOL_CLASS. Errors: EINVAL no such class; EDQUOT, ENOMEM.
  Status populate(Pool& pool, unsigned class_index);
  // Its steps, as the second can take long (PoolFiller): what the blocks are charged to; their
  // memory, on any thread while the pool is used; that they are there.
  struct Filled {
    Status there;
    Status locked;
  };
  Result<registry::Charge> charge_class(Pool& pool, unsigned class_index);
  static Filled fill(const PoolStore& store, unsigned class_index, bool lock);
  Status filled(Pool& pool, unsigned class_index, registry::Charge charge, const Filled& filled);
  [[nodiscard]] bool locks() const { return options_.lock && !lock_refused_; }
  [[nodiscard]] static std::uint64_t class_bytes(const Pool& pool, unsigned class_index);
  // A member found no block that is free.
  void exhausted(Pool& pool);
  // After what may have left something to sweep, or touched memory that failed.
  void tidy(Pool& pool);

  struct Counters {
    std::uint64_t sweeps = 0;
    std::uint64_t reclaimed = 0;  // blocks that sweeps freed
    std::uint64_t exhausted = 0;  // times a member said so
    std::uint64_t given_up = 0;   // pools whose memory failed
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }
  // Those that have memory, by owner.
  [[nodiscard]] std::vector<Pool*> with_memory() const;

  // Runs when a pool has gone.
  std::function<void(PoolSerial)> on_gone;

 private:
  friend class PoolUse;
  Status make_store(Pool& pool);
  Status populate_all(Pool& pool);
  void lock(Pool& pool);
  void note_lock(const Status& locked);
  void unused(Pool& pool);
  void sweep(Pool& pool, Instant now);
  void give_up(Pool& pool);
  void drop(Pool& pool);
  [[nodiscard]] static Instant due(const Pool& pool);
  void tick();
  void arm_by(Instant deadline);
  [[nodiscard]] uid_t payer(const Pool& pool) const { return pool.owner.value_or(0); }

  registry::Users& users_;
  Backings& backings_;
  PoolOptions options_;
  pool::PoolGeometry shared_geometry_;
  pool::PoolGeometry personal_geometry_;
  std::unordered_map<PoolSerial, std::unique_ptr<Pool>> pools_;
  std::map<PoolOwner, Pool*> by_owner_;
  std::uint64_t next_serial_;
  Counters counters_;
  bool lock_refused_ = false;
  Loop::Timer timer_;
  std::optional<PoolUse> prefaulted_;
};

}  // namespace flowfs::fs
