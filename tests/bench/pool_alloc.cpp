// SPDX-License-Identifier: BSD-3-Clause
// pool_alloc MOUNT [ROUNDS [SCALE]]: what it costs to allocate and free a block of a pool, through
// a thread's cache and without one, while so much of the class is taken. Beside it two
// compare-and-swaps on a word that nobody else touches: no allocator that is shared between
// processes and survives their deaths does with less. Prints a JSON list of results. The pool is
// this program's own: MOUNT is there because all benchmarks are started alike.
//
// Blocks are freed at random and by the batch, so that the free ones lie about as in a pool that
// has been in use, and more of them at once than a cache holds.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "measure.hpp"
#include "pool/block_cache.hpp"
#include "pool/pool_keeper.hpp"
#include "pool/pool_memory.hpp"

namespace {

using flowfs::bench::Placement;
using flowfs::bench::Result;
using flowfs::bench::Series;
using flowfs::pool::BlockCache;
using flowfs::pool::BlockRef;
using flowfs::pool::PoolGeometry;
using flowfs::pool::PoolKeeper;
using flowfs::pool::PoolMemory;
using flowfs::pool::Slab;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kBlocks = 4'096;
constexpr std::uint32_t kBlockBytes = 2'048;
constexpr std::size_t kBatch = 32;
constexpr std::size_t kPairs = 2'000'000;

// On a machine where two compare-and-swaps take 10 ns, 15 and 45 ns.
constexpr double kCachedTarget = 1.5;
constexpr double kUncachedTarget = 4.5;
constexpr double kFlatTarget = 1.5;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "pool_alloc: %s\n", what);
  std::exit(1);
}

std::size_t number(int argc, char** argv, int at, std::size_t otherwise) {
  const long value = at < argc ? std::atol(argv[at]) : 0;
  return value > 0 ? static_cast<std::size_t>(value) : otherwise;
}

double ns_each(Clock::time_point start, std::size_t pairs) {
  const std::chrono::duration<double, std::nano> taken = Clock::now() - start;
  return taken.count() / static_cast<double>(pairs);
}

// A pool of which `full` per cent are taken, at random places.
class Store {
 public:
  Store(const PoolGeometry& geometry, unsigned full)
      : memory_(make(geometry)),
        keeper_(geometry, memory_.bytes(), 1),
        slab_(geometry, memory_.bytes(), keeper_.issue_holder().value(), 1) {
    while (const auto ref = slab_.try_allocate(0)) {
      held_.push_back(*ref);
    }
    std::ranges::shuffle(held_, random_);
    const std::size_t most = std::max<std::size_t>(kBlocks * full / 100, kBatch);
    for (; held_.size() > most; held_.pop_back()) {
      give_back(slab_, held_.back());
    }
  }

  // Nanoseconds for a block given back and another taken.
  template <typename Allocator>
  double run(Allocator& allocator, std::size_t pairs) {
    std::vector<std::uint32_t> victims(kPairs / kBatch);
    for (std::uint32_t& victim : victims) {
      victim = static_cast<std::uint32_t>(random_() % (held_.size() - kBatch + 1));
    }
    const auto start = Clock::now();
    for (std::size_t batch = 0; batch < pairs / kBatch; ++batch) {
      const auto chosen = std::span(held_).subspan(victims[batch % victims.size()], kBatch);
      for (const BlockRef ref : chosen) {
        give_back(allocator, ref);
      }
      for (BlockRef& ref : chosen) {
        ref = take(allocator);
      }
    }
    return ns_each(start, pairs / kBatch * kBatch);
  }
  // The same, one after the other: what a thread does that answers each message.
  double run_cached(std::size_t pairs) {
    BlockCache cache(slab_);
    const auto start = Clock::now();
    for (std::size_t i = 0; i < pairs; ++i) {
      give_back(cache, take(cache));
    }
    return ns_each(start, pairs);
  }
  Slab& slab() { return slab_; }

 private:
  static PoolMemory make(const PoolGeometry& geometry) {
    auto memory = PoolMemory::create(geometry, 1);
    if (!memory || !memory->populate(0)) {
      die("no memory for a pool");
    }
    return std::move(*memory);
  }
  template <typename Allocator>
  static void give_back(Allocator& allocator, BlockRef ref) {
    if (!allocator.free(ref)) {
      die("a block was lost");
    }
  }
  template <typename Allocator>
  static BlockRef take(Allocator& allocator) {
    const auto ref = allocator.try_allocate(0);
    if (!ref) {
      die("no block is free");
    }
    return *ref;
  }

  std::mt19937 random_{1};
  PoolMemory memory_;
  PoolKeeper keeper_;
  Slab slab_;
  std::vector<BlockRef> held_;
};

double cas_pair(std::size_t pairs) {
  alignas(64) static std::atomic<std::uint64_t> word;
  std::uint64_t value = word.load(std::memory_order_relaxed);
  const auto start = Clock::now();
  for (std::size_t i = 0; i < 2 * pairs; ++i) {
    // relaxed, both: nobody else has the word; what is measured is the bus-locked instruction.
    if (!word.compare_exchange_strong(value, value + 1, std::memory_order_relaxed)) {
      die("somebody else wrote");
    }
    ++value;
  }
  return ns_each(start, pairs);
}

struct Figures {
  Series cached;
  Series uncached;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: pool_alloc MOUNT [ROUNDS [SCALE]]\n";
    return 2;
  }
  const std::size_t rounds = number(argc, argv, 2, 7);
  const std::size_t pairs = kPairs / number(argc, argv, 3, 1);
  const std::vector<PoolGeometry::Size> sizes{{kBlockBytes, kBlocks}};
  const auto geometry = PoolGeometry::plan(sizes, 4);
  if (!geometry) {
    die("geometry");
  }
  flowfs::bench::place(Placement::pin, false);
  const std::vector<unsigned> fills{1, 50, 95};
  std::vector<std::unique_ptr<Store>> stores;
  for (const unsigned full : fills) {
    stores.push_back(std::make_unique<Store>(*geometry, full));
  }
  std::vector<Figures> figures(fills.size());
  Series peer;
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < fills.size(); ++i) {
      figures[i].cached.values.push_back(stores[i]->run_cached(pairs));
      figures[i].uncached.values.push_back(stores[i]->run(stores[i]->slab(), pairs));
    }
    peer.values.push_back(cas_pair(pairs));
  }

  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  const auto add = [&](const char* name, unsigned full, const Series& ours, const char* peer_name,
                       const Series& theirs, double target) {
    results.push_back(to_json(Result{.name = name,
                                     .placement = Placement::pin,
                                     .bytes = kBlockBytes,
                                     .metric = std::to_string(full) + "_percent_full_ns",
                                     .ours = ours,
                                     .peer = peer_name,
                                     .theirs = theirs,
                                     .target = target}));
  };
  for (std::size_t i = 0; i < fills.size(); ++i) {
    add("pool_cached", fills[i], figures[i].cached, "cas_pair", peer, kCachedTarget);
    add("pool_alloc", fills[i], figures[i].uncached, "cas_pair", peer, kUncachedTarget);
  }
  add("pool_alloc", fills.back(), figures.back().uncached, "1_percent_full",
      figures.front().uncached, kFlatTarget);
  std::cout << results.dump(1) << '\n';
  return 0;
}
