// SPDX-License-Identifier: BSD-3-Clause
#include "base/fd.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace flowfs {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(Fd, closes_when_it_is_replaced_and_at_its_end) {
  const int first = ::dup(STDIN_FILENO);
  const int second = ::dup(STDIN_FILENO);
  {
    Fd fd(first);
    fd = Fd(second);
    EXPECT_FALSE(is_open(first));
    EXPECT_TRUE(is_open(second));
  }
  EXPECT_FALSE(is_open(second));
}

TEST(Fd, released_stays_open) {
  Fd fd(::dup(STDIN_FILENO));
  const int number = fd.release();
  EXPECT_FALSE(fd);
  fd.reset();
  ASSERT_TRUE(is_open(number));
  ::close(number);
}

TEST(SealedMemfd, has_the_mode_size_and_seals_it_promises) {
  const auto fd = make_sealed_memfd("test", 1 << 20, 8192);
  ASSERT_TRUE(fd) << fd.error().message();
  struct stat status{};
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
  EXPECT_EQ(status.st_size, 1 << 20);
  EXPECT_EQ(status.st_uid, ::geteuid());
  EXPECT_EQ(status.st_blocks * 512, 8192);  // populated so far, and no further
  const int seals = ::fcntl(fd->get(), F_GET_SEALS);
  constexpr int expected = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  EXPECT_EQ(seals & expected, expected);
  EXPECT_EQ(seals & F_SEAL_WRITE, 0);
  EXPECT_EQ(::ftruncate(fd->get(), 4096), -1);
  EXPECT_EQ(::ftruncate(fd->get(), 1 << 21), -1);
  EXPECT_EQ(::fcntl(fd->get(), F_GETFD), FD_CLOEXEC);
}

TEST(SealedMemfd, cannot_be_made_executable) {
  const auto fd = make_sealed_memfd("test", 4096, 0);
  ASSERT_TRUE(fd);
  constexpr int seal_exec = 0x0020;  // F_SEAL_EXEC of newer headers
  if ((::fcntl(fd->get(), F_GET_SEALS) & seal_exec) == 0) {
    GTEST_SKIP() << "this kernel has no MFD_NOEXEC_SEAL (Linux 6.3)";
  }
  EXPECT_EQ(::fchmod(fd->get(), 0700), -1);
}

TEST(SealedMemfd, refuses_more_to_populate_than_there_is) {
  const auto fd = make_sealed_memfd("test", 4096, 8192);
  ASSERT_FALSE(fd);
  EXPECT_EQ(fd.error().error, EINVAL);
}

TEST(Mapping, shares_what_is_written) {
  const auto fd = make_sealed_memfd("test", 8192, 8192);
  ASSERT_TRUE(fd);
  auto writer = Mapping::map(*fd, 8192, Mapping::Access::read_write);
  const auto reader = Mapping::map(*fd, 4096, Mapping::Access::read_only);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->size(), 4096U);
  const std::byte* address = writer->data();
  const Mapping moved = std::move(*writer);
  EXPECT_EQ(moved.data(), address);
  std::memcpy(moved.data(), "text", 4);
  EXPECT_EQ(std::memcmp(reader->data(), "text", 4), 0);
}

TEST(Mapping, of_a_read_only_descriptor_cannot_be_writable) {
  const auto fd = make_sealed_memfd("test", 4096, 0);
  ASSERT_TRUE(fd);
  const std::string path = "/proc/self/fd/" + std::to_string(fd->get());
  const Fd read_only(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto mapping = Mapping::map(read_only, 4096, Mapping::Access::read_write);
  ASSERT_FALSE(mapping);
  EXPECT_EQ(mapping.error().error, EACCES);
}

TEST(ReadFile, reads_a_file_that_does_not_know_its_size) {
  const auto text = read_file("/proc/self/status");
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_NE(text->find("VmRSS"), std::string::npos);
}

TEST(ReadFile, keeps_to_the_limit) {
  std::string path = ::testing::TempDir() + "flowfs-read-XXXXXX";
  const Fd file(::mkstemp(path.data()));
  ASSERT_TRUE(file);
  const std::string text(10'000, 'x');
  ASSERT_EQ(::write(file.get(), text.data(), text.size()), std::ssize(text));
  EXPECT_EQ(read_file(path, 10'000), text);
  const auto over = read_file(path, 9'999);
  ::unlink(path.c_str());
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().error, EFBIG);
}

TEST(ReadFile, names_the_step_that_failed) {
  const auto text = read_file("/nonexistent/file");
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().message(), "open: No such file or directory");
}

}  // namespace
}  // namespace flowfs
