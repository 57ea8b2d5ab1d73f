// SPDX-License-Identifier: BSD-3-Clause
#include "pool/pool_memory.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool_fixture.hpp"

namespace flowfs::pool {
namespace {

using test::kSerial;

PoolMemory make(const PoolGeometry& geometry) {
  auto memory = PoolMemory::create(geometry, kSerial);
  FLOWFS_CHECK(memory.has_value());
  return std::move(*memory);
}

std::size_t allocated_bytes(const PoolMemory& memory) {
  struct stat its{};
  FLOWFS_CHECK(::fstat(memory.fd().get(), &its) == 0);
  return static_cast<std::size_t>(its.st_blocks) * 512;
}

flowfs_pool& header(const PoolMemory& memory) {
  return *reinterpret_cast<flowfs_pool*>(memory.bytes().data());
}

TEST(PoolMemory, begins_with_every_block_free_in_shard_0) {
  const PoolGeometry geometry = test::small_pool();
  const PoolMemory memory = make(geometry);
  const OwnerWords words(geometry, memory.bytes());
  for (std::uint32_t block = 0; block < geometry.blocks(); ++block) {
    EXPECT_EQ(words.look(block), OwnerWord::free_in(0, 0));
    EXPECT_EQ(words.eight_hints(block / 8) >> block % 8 * 8 & 0xff, 1U);
  }
}

TEST(PoolMemory, is_a_sealed_file_of_the_daemon) {
  const PoolMemory memory = make(test::small_pool());
  struct stat its{};
  ASSERT_EQ(::fstat(memory.fd().get(), &its), 0);
  EXPECT_EQ(its.st_mode & 07777, 0600U);
  EXPECT_EQ(static_cast<std::size_t>(its.st_size), memory.geometry().pool_bytes());
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  EXPECT_EQ(::fcntl(memory.fd().get(), F_GET_SEALS) & kSeals, kSeals);
}

TEST(PoolMemory, allocates_a_class_when_it_is_first_wanted) {
  PoolMemory memory = make(test::pool_geometry({{64, 64}, {4'096, 16}, {8'192, 16}}));
  const std::size_t table = allocated_bytes(memory);
  EXPECT_EQ(table, memory.geometry().table_bytes());
  EXPECT_EQ(memory.populated(), 0U);
  ASSERT_TRUE(memory.populate(1));
  EXPECT_EQ(memory.populated(), 2U);
  EXPECT_EQ(allocated_bytes(memory), table + 65'536);
  ASSERT_TRUE(memory.populate(1));
  EXPECT_EQ(allocated_bytes(memory), table + 65'536);
  ASSERT_TRUE(memory.populate(2));
  EXPECT_EQ(memory.describe().populated, 6U);
}

TEST(PoolMemory, gives_its_pages_back_whoever_still_maps_them) {
  PoolMemory memory = make(test::small_pool());
  const auto member =
      Mapping::map(memory.fd(), memory.geometry().pool_bytes(), Mapping::Access::read_write);
  ASSERT_TRUE(member);
  ASSERT_TRUE(memory.populate(2));
  memory.discard();
  EXPECT_EQ(allocated_bytes(memory), 0U);
}

TEST(PoolMemory, says_what_a_member_needs) {
  PoolMemory memory = make(test::small_pool());
  const flowfs_pool_attach attach = memory.describe();
  EXPECT_EQ(attach.serial, kSerial);
  const auto geometry = PoolGeometry::from(attach);
  ASSERT_TRUE(geometry);
  EXPECT_EQ(check_pool(memory.bytes(), *geometry, attach.serial), AttachOutcome::ok);
}

TEST(PoolMemory, is_not_mistaken_for_something_else) {
  const PoolMemory memory = make(test::small_pool());
  const PoolGeometry& geometry = memory.geometry();
  const auto bytes = memory.bytes();
  EXPECT_EQ(check_pool(bytes, geometry, kSerial + 1), AttachOutcome::corrupt);
  EXPECT_EQ(check_pool(bytes.first(bytes.size() - 1), geometry, kSerial), AttachOutcome::corrupt);
  header(memory).version = FLOWFS_LAYOUT_VERSION + 1;
  EXPECT_EQ(check_pool(bytes, geometry, kSerial), AttachOutcome::wrong_version);
  header(memory).magic = FLOWFS_SEGMENT_MAGIC;
  EXPECT_EQ(check_pool(bytes, geometry, kSerial), AttachOutcome::corrupt);
  header(memory).magic = 0;
  EXPECT_EQ(check_pool(bytes, geometry, kSerial), AttachOutcome::not_ready);
}

// In a process of its own, whose limit nobody else has and who has no privilege. Its exit status
// says what happened.
enum Locking : std::uint8_t { kAsExpected, kRefusedLittle, kAllowedMuch, kCannotTell };

Locking lock_with_a_limit() {
  const rlimit limit{.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
  if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || (::geteuid() == 0 && ::seteuid(65'534) != 0)) {
    return kCannotTell;
  }
  std::vector<std::byte> much(std::size_t{2} << 20);
  if (::mlock(much.data(), much.size()) == 0) {
    return kCannotTell;  // sanitizers make mlock do nothing
  }
  PoolMemory memory = make(test::pool_geometry({{4'096, 64}, {65'536, 64}}));
  if (!memory.populate(0) || !memory.lock()) {
    return kRefusedLittle;
  }
  const Status both = memory.populate(1) ? memory.lock() : Status{};
  return !both && both.error().error == ENOMEM ? kAsExpected : kAllowedMuch;
}

TEST(PoolMemory, locks_what_is_populated_where_the_limit_allows) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(lock_with_a_limit());
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kCannotTell) {
    GTEST_SKIP() << "no limit of locked memory can be had here";
  }
  EXPECT_EQ(WEXITSTATUS(status), kAsExpected);
}

}  // namespace
}  // namespace flowfs::pool
