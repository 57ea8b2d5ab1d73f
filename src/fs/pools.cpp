// SPDX-License-Identifier: BSD-3-Clause
#include "fs/pools.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "base/log.hpp"
#include "fs/meta.hpp"
#include "pool/fault_guard.hpp"

namespace flowfs::fs {
namespace {

// Of a daemon that starts later they are greater: programs may still map pools of the one before.
// 48 bits, as node ids take them.
std::uint64_t first_serial() {
  constexpr std::uint64_t kSecondsBits = 0xffffffff;
  return (static_cast<std::uint64_t>(wall_clock_now().tv_sec) & kSecondsBits) << 16;
}

// Options come from a configuration that has been checked.
pool::PoolGeometry lay_out(const PoolSizes& sizes, const PoolOptions& options) {
  const auto geometry = pool::PoolGeometry::plan(sizes, static_cast<unsigned>(options.shards));
  FLOWFS_CHECK(geometry.has_value());
  return *geometry;
}

}  // namespace

std::string to_string(PoolOwner owner) { return owner ? std::to_string(*owner) : "shared"; }

// --- PoolUse
// ---------------------------------------------------------------------------------------

PoolUse::PoolUse(Pools& pools, Pool& pool) : pools_(&pools), pool_(&pool) { ++pool.users; }

PoolUse& PoolUse::operator=(PoolUse&& other) noexcept {
  if (this != &other) {
    reset();
    pools_ = other.pools_;
    pool_ = std::exchange(other.pool_, nullptr);
  }
  return *this;
}

void PoolUse::reset() {
  if (Pool* pool = std::exchange(pool_, nullptr); pool != nullptr && --pool->users == 0) {
    pools_->unused(*pool);
  }
}

// --- Pools
// -----------------------------------------------------------------------------------------

Pools::Pools(Loop& loop, registry::Users& users, Backings& backings)
    : users_(users),
      backings_(backings),
      shared_geometry_(lay_out(options_.shared, options_)),
      personal_geometry_(lay_out(options_.personal, options_)),
      next_serial_(first_serial()),
      timer_(loop.timer([this] { tick(); })) {}

Pools::~Pools() { prefaulted_.reset(); }

void Pools::configure(const PoolOptions& options) {
  options_ = options;
  shared_geometry_ = lay_out(options.shared, options);
  personal_geometry_ = lay_out(options.personal, options);
}

Pool* Pools::find(PoolOwner owner) const {
  const auto it = by_owner_.find(owner);
  return it == by_owner_.end() ? nullptr : it->second;
}

Pool* Pools::find(PoolSerial serial) const {
  const auto it = pools_.find(serial);
  return it == pools_.end() ? nullptr : it->second.get();
}

Pool* Pools::personal_from(std::uint64_t first) const {
  if (first > std::numeric_limits<uid_t>::max()) {
    return nullptr;
  }
  const auto it = by_owner_.lower_bound(static_cast<uid_t>(first));
  return it == by_owner_.end() ? nullptr : it->second;
}

Pool& Pools::find_or_make(PoolOwner owner) {
  if (Pool* found = find(owner); found != nullptr) {
    if (found->users == 0) {
      unused(*found);  // it lingers from now
    }
    return *found;
  }
  const PoolSerial serial{next_serial_++};
  auto made = std::make_unique<Pool>(Pool{.serial = serial,
                                          .owner = owner,
                                          .geometry = owner ? personal_geometry_ : shared_geometry_,
                                          .born = wall_clock_now(),
                                          .store = {}});
  Pool& pool = *pools_.emplace(serial, std::move(made)).first->second;
  by_owner_.emplace(owner, &pool);
  unused(pool);
  return pool;
}

Result<PoolUse> Pools::open(Pool& pool) {
  if (!backings_.available()) {
    return fail(EOPNOTSUPP, "files of this mount cannot be mapped");
  }
  if (pool.given_up) {
    return fail(ESTALE, "pool");  // look again: there is another
  }
  if (const Status made = make_store(pool); !made) {
    return std::unexpected(made.error());
  }
  PoolUse use(*this, pool);
  if (!backings_.handed_out() && !pool.store->backing) {
    auto backing = backings_.add(pool.store->memory.fd().get());
    if (!backing) {
      return std::unexpected(backing.error());
    }
    pool.store->backing = std::move(*backing);
  }
  return use;
}

Status Pools::make_store(Pool& pool) {
  if (pool.store) {
    return {};
  }
  if (const Status installed = pool::FaultGuard::install(); !installed) {
    return installed;
  }
  auto charge = users_.charge(payer(pool), registry::Resource::bytes, pool.geometry.table_bytes());
  if (!charge) {
    return std::unexpected(charge.error());
  }
  auto memory = pool::PoolMemory::create(pool.geometry, std::to_underlying(pool.serial));
  if (!memory) {
    return std::unexpected(memory.error());
  }
  pool.store = std::make_unique<PoolStore>(std::move(*memory), std::move(*charge));
  lock(pool);
  return options_.prefault ? populate_all(pool) : Status{};
}

Status Pools::populate_all(Pool& pool) {
  for (unsigned i = 0; i < pool.geometry.classes().size(); ++i) {
    if (const Status populated = populate(pool, i); !populated) {
      pool.store.reset();
      return populated;
    }
  }
  return {};
}

Status Pools::populate(Pool& pool, unsigned class_index) {
  auto charge = charge_class(pool, class_index);
  if (!charge) {
    return std::unexpected(charge.error());
  }
  if (pool.store->classes.contains(class_index)) {
    return {};
  }
  return filled(pool, class_index, std::move(*charge), fill(*pool.store, class_index, locks()));
}

std::uint64_t Pools::class_bytes(const Pool& pool, unsigned class_index) {
  constexpr std::uint64_t kPage = 4096;
  const pool::PoolClass& its = pool.geometry.classes()[class_index];
  return (std::uint64_t{its.block_bytes} * its.blocks + kPage - 1) / kPage * kPage;
}

// Nothing for a class that is there.
Result<registry::Charge> Pools::charge_class(Pool& pool, unsigned class_index) {
  if (class_index >= pool.geometry.classes().size()) {
    return fail(EINVAL, "class of a pool");
  }
  if (pool.store->classes.contains(class_index)) {
    return registry::Charge{};
  }
  auto charge =
      users_.charge(payer(pool), registry::Resource::bytes, class_bytes(pool, class_index));
  if (!charge && charge.error().error == ENFILE) {
    // Open files have nothing to do with it, whatever the limit of the daemon is called elsewhere.
    return fail(ENOMEM, "blocks of a pool");
  }
  return charge;
}

Pools::Filled Pools::fill(const PoolStore& store, unsigned class_index, bool lock) {
  Filled done{.there = store.memory.allocate(class_index), .locked = {}};
  if (done.there && lock) {
    done.locked = store.memory.lock_blocks(class_index);
  }
  return done;
}

Status Pools::filled(Pool& pool, unsigned class_index, registry::Charge charge,
                     const Filled& filled) {
  if (!filled.there) {
    const Failure& why = filled.there.error();
    return fail(why.error == ENOSPC ? ENOMEM : why.error, why.context);
  }
  note_lock(filled.locked);
  pool.store->memory.mark_populated(class_index);
  pool.store->classes.emplace(class_index, std::move(charge));
  return {};
}

// As far as the daemon may.
void Pools::lock(Pool& pool) {
  if (locks()) {
    note_lock(pool.store->memory.lock());
  }
}

// The first refusal is told, and the last attempt.
void Pools::note_lock(const Status& locked) {
  if (!locked && !lock_refused_) {
    lock_refused_ = true;
    log::warning("pools may be swapped out: error=\"{}\"", locked.error().message());
  }
}

void Pools::prefault() {
  if (!options_.prefault || prefaulted_) {
    return;
  }
  Pool& shared = find_or_make(std::nullopt);
  if (const Status made = make_store(shared); !made) {
    log::warning("the shared pool is not there from the start: error=\"{}\"",
                 made.error().message());
    return;
  }
  prefaulted_.emplace(*this, shared);
}

// --- keeping

void Pools::exhausted(Pool& pool) {
  ++counters_.exhausted;
  if (!pool.given_up) {
    sweep(pool, Clock::now());
  }
  tidy(pool);
}

void Pools::tidy(Pool& pool) {
  if (pool.store->keeper->faulted() && !pool.given_up) {
    give_up(pool);
  }
  arm_by(Clock::now() + pool::PoolKeeper::kQuarantine);
}

void Pools::sweep(Pool& pool, Instant now) {
  pool.swept = now;
  ++counters_.sweeps;
  counters_.reclaimed += pool.store->keeper->sweep(now);
}

// A member took memory away that could not be replaced. Where the daemon looked there are private
// pages of it now, so what it sees is no longer what the members see.
void Pools::give_up(Pool& pool) {
  pool.given_up = true;
  ++counters_.given_up;
  log::warning("gave a pool up whose memory failed: pool={}", to_string(pool.owner));
  by_owner_.erase(pool.owner);
}

void Pools::unused(Pool& pool) {
  pool.unused_since = Clock::now();
  arm_by(pool.unused_since + kLinger);
}

void Pools::drop(Pool& pool) {
  if (find(pool.owner) == &pool) {
    by_owner_.erase(pool.owner);
  }
  if (pool.store) {
    pool.store->memory.discard();
  }
  const PoolSerial serial = pool.serial;
  pools_.erase(serial);
  if (on_gone) {
    on_gone(serial);
  }
}

// When a pool wants to be looked at. Not at once after a sweep that could not finish: a member can
// keep words changing for as long as it likes.
Instant Pools::due(const Pool& pool) {
  constexpr Micros kBreath{100'000};
  if (pool.users == 0) {
    return pool.unused_since + kLinger;
  }
  return pool.store && !pool.given_up ? std::max(pool.store->keeper->due(), pool.swept + kBreath)
                                      : kNever;
}

void Pools::tick() {
  const Instant now = Clock::now();
  std::vector<Pool*> over;
  for (const auto& [serial, pool] : pools_) {
    if (due(*pool) > now) {
      continue;
    }
    if (pool->users == 0) {
      over.push_back(pool.get());
      continue;
    }
    sweep(*pool, now);
    if (pool->store->keeper->faulted()) {
      give_up(*pool);
    }
  }
  for (Pool* pool : over) {
    drop(*pool);
  }
  Instant first = kNever;
  for (const auto& [serial, pool] : pools_) {
    first = std::min(first, due(*pool));
  }
  arm_by(first);
}

// Too early is only a look for nothing, and spares a walk over all numbers at each close.
void Pools::arm_by(Instant deadline) {
  if (deadline < timer_.deadline()) {
    timer_.arm(deadline);
  }
}

std::vector<Pool*> Pools::with_memory() const {
  std::vector<Pool*> found;
  for (const auto& [owner, pool] : by_owner_) {
    if (pool->store) {
      found.push_back(pool);
    }
  }
  return found;
}

}  // namespace flowfs::fs
