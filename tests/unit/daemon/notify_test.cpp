// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/notify.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

#include "base/fd.hpp"

namespace flowfs::daemon {
namespace {

// A service manager's end: an abstract datagram socket named by NOTIFY_SOCKET.
class NotifyTest : public testing::Test {
 protected:
  void SetUp() override {
    socket_ = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const std::string name = "flowfs-notify-" + std::to_string(::getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(&address.sun_path[1], sizeof address.sun_path - 1);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): as bind wants it
    ASSERT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    ASSERT_EQ(::setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1), 0);
  }
  void TearDown() override { ::unsetenv("NOTIFY_SOCKET"); }

  std::string received() {
    std::array<char, 256> text{};
    const ssize_t length = ::recv(socket_.get(), text.data(), text.size(), 0);
    return length < 0 ? "" : std::string(text.data(), static_cast<std::size_t>(length));
  }

  Fd socket_;
};

TEST_F(NotifyTest, ready_is_told_to_the_manager_and_on_stderr) {
  testing::internal::CaptureStderr();
  notify_ready("/run/here");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "flowfsd: ready at /run/here\n");
  EXPECT_EQ(received(), "READY=1\nSTATUS=Serving at /run/here");
}

TEST_F(NotifyTest, a_reload_is_told_with_its_time_and_its_end) {
  notify_reloading();
  EXPECT_THAT(received(), testing::MatchesRegex("RELOADING=1\nMONOTONIC_USEC=[0-9]+"));
  notify_reloaded();
  EXPECT_EQ(received(), "READY=1");
}

TEST_F(NotifyTest, stopping_is_told) {
  notify_stopping();
  EXPECT_EQ(received(), "STOPPING=1");
}

TEST(Notify, without_a_manager_only_stderr_is_told) {
  ::unsetenv("NOTIFY_SOCKET");
  testing::internal::CaptureStderr();
  notify_ready("/x");
  notify_stopping();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "flowfsd: ready at /x\n");
}

}  // namespace
}  // namespace flowfs::daemon
