// SPDX-License-Identifier: BSD-3-Clause
// Pools without a mount: nothing can be opened, but what is there from the start can fail.
#include "fs/pools.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "registry/users.hpp"

namespace flowfs::fs {
namespace {

using registry::Resource;

constexpr PoolOwner kShared{};

class PoolsTest : public testing::Test {
 protected:
  PoolsTest()
      : loop(Loop::create().value()),
        users(registry::Users::Config::defaults()),
        pools(*loop, users, backings) {}

  void prefault() {
    pools.configure(
        {.shared = {{.block_bytes = 64, .blocks = 4}, {.block_bytes = 4096, .blocks = 2}},
         .personal = {{.block_bytes = 128, .blocks = 1}},
         .shards = 1,
         .prefault = true,
         .lock = false,
         .group = {}});
    pools.prefault();
    ASSERT_NE(pools.find(kShared), nullptr);
    ASSERT_NE(pools.find(kShared)->store, nullptr);
  }
  // Every look at the pool is a fault from now on.
  static void take_memory_away(Pool& pool) {
    const auto bytes = pool.store->memory.bytes();
    const Fd empty(::memfd_create("empty", MFD_CLOEXEC));
    ASSERT_NE(::mmap(bytes.data(), bytes.size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                     empty.get(), 0),
              MAP_FAILED);
  }

  std::unique_ptr<Loop> loop;
  registry::Users users;
  Backings backings;
  Pools pools;
};

TEST_F(PoolsTest, an_owner_has_one_pool_at_a_time) {
  Pool& shared = pools.find_or_make(kShared);
  Pool& personal = pools.find_or_make(1000);
  EXPECT_EQ(&pools.find_or_make(kShared), &shared);
  EXPECT_EQ(pools.find(personal.serial), &personal);
  EXPECT_NE(personal.serial, shared.serial);
  EXPECT_EQ(pools.find(1001), nullptr);
  EXPECT_EQ(pools.personal_from(0), &personal);
  EXPECT_EQ(pools.personal_from(1001), nullptr);
  EXPECT_EQ(pools.personal_from(std::uint64_t{1} << 32), nullptr);
}

TEST_F(PoolsTest, cannot_be_opened_where_nothing_can_be_mapped) {
  const auto use = pools.open(pools.find_or_make(kShared));
  ASSERT_FALSE(use.has_value());
  EXPECT_EQ(use.error().error, EOPNOTSUPP);
}

TEST_F(PoolsTest, one_that_nobody_uses_goes) {
  std::vector<PoolSerial> gone;
  pools.on_gone = [&](PoolSerial serial) {
    gone.push_back(serial);
    loop->stop();
  };
  const PoolSerial serial = pools.find_or_make(1000).serial;
  loop->run();
  EXPECT_EQ(gone, std::vector{serial});
  EXPECT_EQ(pools.find(1000), nullptr);
  EXPECT_NE(pools.find_or_make(1000).serial, serial);
}

TEST_F(PoolsTest, one_that_is_there_from_the_start_is_whole_and_charged_to_root) {
  prefault();
  const Pool& shared = *pools.find(kShared);
  EXPECT_EQ(shared.store->memory.populated(), 0b11U);
  EXPECT_EQ(users.used(0, Resource::bytes), shared.geometry.table_bytes() + 4096 + 2 * 4096);
  pools.prefault();
  EXPECT_EQ(pools.find(kShared), &shared);
}

TEST_F(PoolsTest, a_limit_keeps_one_from_being_there_from_the_start) {
  users.set_limit(0, Resource::bytes, 10'000);
  pools.configure({.prefault = true, .lock = false, .group = {}});
  pools.prefault();
  EXPECT_EQ(pools.find(kShared)->store, nullptr);
  EXPECT_EQ(users.used(0, Resource::bytes), 0U);
}

TEST_F(PoolsTest, one_whose_memory_fails_is_given_up) {
  prefault();
  Pool& failed = *pools.find(kShared);
  take_memory_away(failed);
  pools.exhausted(failed);
  EXPECT_EQ(pools.counters().given_up, 1U);
  EXPECT_TRUE(failed.given_up);
  EXPECT_EQ(pools.find(kShared), nullptr);
  EXPECT_EQ(pools.find(failed.serial), &failed) << "those who are in it stay";
  EXPECT_NE(&pools.find_or_make(kShared), &failed);
  pools.exhausted(failed);
  EXPECT_EQ(pools.counters().given_up, 1U);
}

}  // namespace
}  // namespace flowfs::fs
