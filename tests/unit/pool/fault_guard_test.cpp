// SPDX-License-Identifier: BSD-3-Clause
#include "pool/fault_guard.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/fd.hpp"

namespace flowfs::pool {
namespace {

constexpr std::size_t kBytes = 16'384;

class FaultGuardTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(FaultGuard::install().has_value());
    // Not sealed, unlike ours: the surest way to a SIGBUS is a file that shrinks.
    fd_ = Fd(::memfd_create("victim", MFD_CLOEXEC));
    ASSERT_TRUE(fd_);
    ASSERT_EQ(::ftruncate(fd_.get(), kBytes), 0);
    auto mapping = Mapping::map(fd_, kBytes, Mapping::Access::read_write);
    ASSERT_TRUE(mapping.has_value());
    mapping_ = std::move(*mapping);
    std::ranges::fill(mapping_.bytes(), std::byte{0x55});
  }

  Fd fd_;
  Mapping mapping_;
};

TEST_F(FaultGuardTest, reads_zeros_where_memory_was_taken_away) {
  ASSERT_EQ(::ftruncate(fd_.get(), 4'096), 0);
  std::byte copy[kBytes];
  FaultGuard guard(mapping_.bytes());
  EXPECT_FALSE(guard.faulted());
  std::memcpy(copy, mapping_.data(), kBytes);
  EXPECT_TRUE(guard.faulted());
  EXPECT_EQ(copy[0], std::byte{0x55});
  EXPECT_EQ(copy[4'096], std::byte{0});
  EXPECT_EQ(copy[kBytes - 1], std::byte{0});
}

TEST_F(FaultGuardTest, writes_into_nothing_where_memory_was_taken_away) {
  ASSERT_EQ(::ftruncate(fd_.get(), 0), 0);
  FaultGuard guard({}, mapping_.bytes());
  std::memset(mapping_.data(), 1, kBytes);
  EXPECT_TRUE(guard.faulted());
}

TEST_F(FaultGuardTest, tells_only_the_guard_whose_memory_it_was) {
  ASSERT_EQ(::ftruncate(fd_.get(), 0), 0);
  FaultGuard outer(mapping_.bytes());
  std::byte unrelated[16]{};
  {
    FaultGuard inner(unrelated);
    EXPECT_EQ(mapping_.data()[0], std::byte{0});
    EXPECT_FALSE(inner.faulted());
  }
  EXPECT_TRUE(outer.faulted());
}

TEST_F(FaultGuardTest, sees_zeros_and_no_fault_in_a_punched_hole) {
  FaultGuard guard(mapping_.bytes());
  ASSERT_EQ(::madvise(mapping_.data(), kBytes, MADV_REMOVE), 0);
  EXPECT_TRUE(std::ranges::all_of(mapping_.bytes(), [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_FALSE(guard.faulted());
}

using FaultGuardDeathTest = FaultGuardTest;

TEST_F(FaultGuardDeathTest, lets_any_other_fault_kill) {
  // What has no guard is a mistake of ours, and must not go unnoticed.
  EXPECT_EXIT(
      {
        if (!FaultGuard::install()) {
          ::_exit(1);
        }
        void* memory = ::mmap(nullptr, 4'096, PROT_READ, MAP_SHARED, fd_.get(), kBytes);
        volatile const char* byte = static_cast<const char*>(memory);
        (void)*byte;
      },
      testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace flowfs::pool
