// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/readiness.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/fd.hpp"

namespace flowfs::daemon {
namespace {

int exit_code(const Result<pid_t>& child) {
  int status = 0;
  if (!child || ::waitpid(*child, &status, 0) != *child || !WIFEXITED(status)) {
    return -1;
  }
  return WEXITSTATUS(status);
}

TEST(Readiness, a_file_that_can_be_read_is_proof) {
  EXPECT_EQ(exit_code(start_reader("/proc/self/status")), 0);
}

TEST(Readiness, the_exit_code_says_why_not) {
  EXPECT_EQ(exit_code(start_reader("/nonexistent/version")), ENOENT);
  EXPECT_EQ(exit_code(start_reader("/dev/null")), ENODATA) << "an empty file is no proof";
  EXPECT_EQ(exit_code(start_reader("/proc")), EISDIR);
}

// Otherwise a reader that waits for us would keep our device open after our death.
TEST(Readiness, the_reader_holds_none_of_our_descriptors) {
  std::string directory = testing::TempDir() + "flowfs-ready-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string fifo = directory + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  Fd writer(ends[1]);

  const auto child = start_reader(fifo);  // waits until the fifo is opened for writing
  writer.reset();
  char byte = 0;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0) << "end of file: the child has closed its copy";

  const Fd open(::open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(::write(open.get(), "x", 1), 1);
  EXPECT_EQ(exit_code(child), 0);
  ::unlink(fifo.c_str());
  ::rmdir(directory.c_str());
}

}  // namespace
}  // namespace flowfs::daemon
