// SPDX-License-Identifier: BSD-3-Clause
// Members of a pool as threads on one mapping, where ThreadSanitizer sees every owner of a block:
// each writes what it owns plainly, so a block that two own is a race.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cinttypes>
#include <cstring>
#include <deque>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

#include "../unit/pool/pool_fixture.hpp"
#include "lane_end.hpp"
#include "pool/block_cache.hpp"

namespace flowfs::race {
namespace {

using pool::BlockCache;
using pool::BlockRef;
using pool::LaneNumber;
using pool::Slab;
using pool::test::Pool;
using pool::test::pool_geometry;

constexpr std::chrono::seconds kPatience{20};

// The blocks of one owner, each with its mark in it.
class Marked {
 public:
  Marked(const Slab& slab, std::uint64_t owner) : slab_(&slab), owner_(owner) {}

  void add(BlockRef ref) {
    write(ref);
    blocks_.push_back(ref);
  }
  // One at random. False: its mark is gone, so somebody else has written there.
  bool remove(std::mt19937& random, BlockRef& ref) {
    std::swap(blocks_[random() % blocks_.size()], blocks_.back());
    ref = blocks_.back();
    blocks_.pop_back();
    return read(ref) == (owner_ ^ ref.block);
  }
  [[nodiscard]] bool empty() const { return blocks_.empty(); }
  [[nodiscard]] std::size_t size() const { return blocks_.size(); }

 private:
  void write(BlockRef ref) const {
    const std::uint64_t mark = owner_ ^ ref.block;
    std::memcpy(slab_->bytes(ref).data(), &mark, sizeof mark);
  }
  [[nodiscard]] std::uint64_t read(BlockRef ref) const {
    std::uint64_t mark = 0;
    std::memcpy(&mark, slab_->bytes(ref).data(), sizeof mark);
    return mark;
  }

  const Slab* slab_;
  std::uint64_t owner_;
  std::vector<BlockRef> blocks_;
};

// Allocates and frees at random, through a cache or not, until told to stop; frees all it has.
// Returns how many blocks it allocated, or nothing: one was not its own.
std::optional<std::uint64_t> churn(Slab& slab, std::uint64_t owner, bool cached,
                                   const std::atomic<bool>& stop) {
  std::mt19937 random{static_cast<unsigned>(owner)};
  BlockCache cache(slab);
  Marked mine(slab, owner << 32);
  std::uint64_t allocated = 0;
  BlockRef ref;
  // relaxed: any time soon will do.
  while (!stop.load(std::memory_order_relaxed) || !mine.empty()) {
    const bool wants = mine.size() < random() % 40 && !stop.load(std::memory_order_relaxed);
    if (wants) {
      const unsigned class_index = random() % 2;
      const auto got = cached ? cache.try_allocate(class_index) : slab.try_allocate(class_index);
      if (got) {
        ++allocated;
        mine.add(*got);
      }
    } else if (!mine.empty() &&
               !(mine.remove(random, ref) && (cached ? cache.free(ref) : slab.free(ref)))) {
      return std::nullopt;
    }
  }
  return allocated;
}

void let_run(std::atomic<bool>& stop) {
  const Instant end = Clock::now() + hammer_time();
  while (Clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  stop.store(true, std::memory_order_relaxed);  // relaxed: any time soon will do
}

TEST(SlabRace, gives_no_block_to_two) {
  Pool pool(pool_geometry({{64, 70}, {128, 33}}));
  const auto one = pool.join(0);
  const auto two = pool.join(1);
  std::atomic<bool> stop = false;
  std::array<std::optional<std::uint64_t>, 4> allocated;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back(
        [&, i] { allocated[i] = churn(i % 2 == 0 ? *one : *two, i + 1, i < 2, stop); });
  }
  let_run(stop);
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::uint64_t total = 0;
  for (const auto& count : allocated) {
    ASSERT_TRUE(count) << "a block was somebody else's too";
    EXPECT_GT(*count, 100U);
    total += *count;
  }
  EXPECT_EQ(pool.count(0), "70 0 0");
  EXPECT_EQ(pool.count(1), "33 0 0");
  std::printf("  %" PRIu64 " allocations\n", total);
}

// A lane, as far as blocks are concerned.
class Wire {
 public:
  void put(BlockRef ref) {
    const std::lock_guard lock(mutex_);
    records_.push_back(ref);
  }
  bool get(BlockRef& ref) {
    const std::lock_guard lock(mutex_);
    if (records_.empty()) {
      return false;
    }
    ref = records_.front();
    records_.pop_front();
    return true;
  }

 private:
  std::mutex mutex_;
  std::deque<BlockRef> records_;
};

// Sends, and now and then takes back what it has just sent, as when its receiver seems gone.
struct Sender {
  bool step() {
    const auto ref = slab->try_allocate(0);
    if (!ref) {
      return true;
    }
    std::memcpy(slab->bytes(*ref).data(), &sent, sizeof sent);
    const auto flying = slab->hand_over(*ref, lane);
    if (!flying) {
      return false;
    }
    wire->put(*flying);
    ++sent;
    if (random() % 8 == 0 && slab->take_back(*flying, lane)) {
      ++taken_back;
      return slab->free(*flying);
    }
    return true;
  }
  Slab* slab = nullptr;
  LaneNumber lane{};
  Wire* wire = nullptr;
  std::mt19937 random{9};
  std::uint64_t sent = 0;
  std::uint64_t taken_back = 0;
};

// Every block that is sent is either received once, with its contents, or taken back.
TEST(SlabRace, hands_each_block_to_one) {
  Pool pool(pool_geometry({{64, 40}}));
  const auto from = pool.join(0);
  const auto to = pool.join(1);
  Wire wire;
  Sender sender{.slab = from.get(), .lane = pool.keeper.issue_lane().value(), .wire = &wire};
  std::atomic<bool> stop = false;
  std::atomic<bool> ended = false;
  bool sender_good = true;
  std::thread sending([&] {
    while (sender_good && !stop.load(std::memory_order_relaxed)) {
      sender_good = sender.step();
    }
    ended.store(true, std::memory_order_release);  // release: the wire is complete
  });
  std::uint64_t received = 0;
  std::uint64_t dropped = 0;
  bool receiver_good = true;
  std::thread receiving([&] {
    std::uint64_t next = 0;
    // acquire, pairs with the sender's end: what is not on the wire now never will be.
    for (bool last = false; receiver_good;) {
      last = ended.load(std::memory_order_acquire);
      BlockRef ref;
      if (!wire.get(ref)) {
        if (last) {
          break;
        }
        std::this_thread::yield();
        continue;
      }
      if (!to->take(ref)) {
        ++dropped;
        continue;
      }
      std::uint64_t number = 0;
      std::memcpy(&number, to->bytes(ref).data(), sizeof number);
      receiver_good = number >= next && to->free(ref);
      next = number + 1;
      ++received;
    }
  });
  let_run(stop);
  sending.join();
  receiving.join();
  EXPECT_TRUE(sender_good && receiver_good);
  EXPECT_EQ(sender.sent, received + dropped);
  EXPECT_EQ(sender.taken_back, dropped);
  EXPECT_GT(received, 100U);
  EXPECT_GT(sender.taken_back, 0U);
  EXPECT_EQ(pool.count(0), "40 0 0");
  std::printf("  %" PRIu64 " sent, %" PRIu64 " taken back\n", sender.sent, sender.taken_back);
}

// As Slab::allocate, but with a patience that makes a lost wake-up a failure: that one looks again
// after a tenth of a second.
std::optional<BlockRef> wait_for_block(Slab& slab, pool::OwnerWords& words, unsigned class_index,
                                       std::uint64_t& sleeps) {
  while (true) {
    if (const auto ref = slab.try_allocate(class_index)) {
      return ref;
    }
    const std::uint32_t bell = words.announce_waiter(class_index);
    if (const auto ref = slab.try_allocate(class_index)) {
      return ref;
    }
    ++sleeps;
    const Instant deadline = later(Clock::now(), kPatience);
    words.wait(class_index, bell, deadline);
    if (Clock::now() >= deadline) {
      return std::nullopt;
    }
  }
}

// In rounds, at the end of which nobody goes on: a waiter that was forgotten is not found by the
// way.
TEST(SlabRace, loses_no_wake_up_of_those_who_wait_for_blocks) {
  constexpr unsigned kThreads = 6;  // three for one block, three for two
  Pool pool(pool_geometry({{64, 1}, {128, 2}}));
  const auto slab = pool.join();
  const Instant end = Clock::now() + hammer_time();
  bool stop = false;  // written between rounds only
  std::uint64_t rounds = 0;
  std::barrier round(kThreads, [&]() noexcept {
    ++rounds;
    stop = Clock::now() >= end;
  });
  std::array<std::uint64_t, kThreads> sleeps{};
  std::array<bool, kThreads> good{};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937 random{i};
      good[i] = true;
      while (good[i] && !stop) {
        for (unsigned turns = random() % 4; good[i] && turns > 0; --turns) {
          const auto ref = wait_for_block(*slab, pool.words, i % 2, sleeps[i]);
          for (unsigned held = static_cast<unsigned>(random() % 3); held > 0; --held) {
            std::this_thread::yield();  // others come to want it
          }
          good[i] = ref && slab->free(*ref);
        }
        if (good[i]) {
          round.arrive_and_wait();
        }
      }
      if (!good[i]) {
        round.arrive_and_drop();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_TRUE(std::ranges::all_of(good, [](bool its) { return its; })) << "a wake-up was lost";
  const std::uint64_t slept = std::accumulate(sleeps.begin(), sleeps.end(), std::uint64_t{0});
  EXPECT_GT(rounds, 100U);
  EXPECT_GT(slept, 100U);
  std::printf("  %" PRIu64 " rounds, %" PRIu64 " sleeps\n", rounds, slept);
}

// One thread at a time dies with its blocks, while others go on and the keeper sweeps. The mortals
// come and go on a mapping of their own: what a slab poisons, it poisons for all on its mapping.
TEST(SlabRace, frees_what_the_dead_leave_behind_and_nothing_of_the_living) {
  Pool pool(pool_geometry({{64, 70}, {128, 33}}));
  const auto one = pool.join(0);
  const auto two = pool.join(1);
  std::atomic<bool> stop = false;
  const auto& geometry = pool.memory.geometry();
  const auto elsewhere =
      Mapping::map(pool.memory.fd(), geometry.pool_bytes(), Mapping::Access::read_write);
  ASSERT_TRUE(elsewhere);
  std::array<std::optional<std::uint64_t>, 2> allocated;
  std::thread first([&] { allocated[0] = churn(*one, 1, false, stop); });
  std::thread second([&] { allocated[1] = churn(*two, 2, true, stop); });
  std::uint64_t freed = 0;
  std::uint64_t left = 0;
  Instant now = pool::test::kBegin;
  const Instant end = Clock::now() + hammer_time();
  while (Clock::now() < end) {
    Slab mortal(geometry, elsewhere->bytes(), pool.keeper.issue_holder().value(), 2);
    std::thread dies([&] {
      for (int i = 0; i < 10; ++i) {
        left += mortal.try_allocate(static_cast<unsigned>(i % 2)) ? 1U : 0U;
      }
    });
    dies.join();
    pool.keeper.retire(mortal.self(), now);
    now += pool::PoolKeeper::kQuarantine;
    freed += pool.keeper.sweep(now);
  }
  stop.store(true, std::memory_order_relaxed);  // relaxed: any time soon will do
  first.join();
  second.join();
  EXPECT_TRUE(allocated[0] && allocated[1]) << "a block was somebody else's too";
  EXPECT_EQ(freed, left);
  EXPECT_GT(left, 100U);
  EXPECT_EQ(pool.count(0), "70 0 0");
  EXPECT_EQ(pool.count(1), "33 0 0");
}

}  // namespace
}  // namespace flowfs::race
