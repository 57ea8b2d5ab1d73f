// SPDX-License-Identifier: BSD-3-Clause
#include "vde.hpp"

#ifdef FLOWFS_BENCH_VDE

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include "processes.hpp"

// It does not say so itself.
extern "C" {
#include <libvdeplug.h>
}

namespace flowfs::bench {
namespace {

constexpr const char* kProgram = "/usr/bin/vde_switch";
constexpr std::chrono::seconds kPatience{10};  // with a switch that is starting

// A switch in a folder of its own. It ends when its standard input does, with this process at the
// latest.
class Switch {
 public:
  Switch() : folder_(new_folder()) {
    std::array<int, 2> input{};
    if (pipe2(input.data(), O_CLOEXEC) != 0) {
      die("pipe2");
    }
    input_ = input[1];
    start(input[0]);
    close(input[0]);
  }
  ~Switch() {
    close(input_);
    finish_process(pid_);
    std::filesystem::remove_all(folder_);
  }
  Switch(const Switch&) = delete;
  Switch& operator=(const Switch&) = delete;
  [[nodiscard]] std::string folder() const { return folder_ + "/switch"; }

 private:
  static std::string new_folder() {
    std::string name = "/tmp/flowfs-bench-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) {
      die("mkdtemp");
    }
    return name;
  }
  void start(int input) {
    std::string program = kProgram;
    std::string option = "-sock";
    std::string where = folder();
    const std::array<char*, 4> arguments{program.data(), option.data(), where.data(), nullptr};
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    const int error = posix_spawn(&pid_, kProgram, &files, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    if (error != 0) {
      errno = error;
      die(kProgram);
    }
  }

  std::string folder_;
  int input_ = -1;
  pid_t pid_ = 0;
};

class Station final : public Part {
 public:
  explicit Station(std::string folder) {
    std::string description = "flowfs bench";
    const Instant deadline = Clock::now() + kPatience;
    while ((plug_ = vde_open(folder.data(), description.data(), nullptr)) == nullptr) {
      const bool starting = errno == ENOENT || errno == ECONNREFUSED;
      if (!starting || Clock::now() > deadline) {
        die(folder.c_str());
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  ~Station() override { vde_close(plug_); }
  Station(const Station&) = delete;
  Station& operator=(const Station&) = delete;

  // What other senders flood fills this one's socket: the switch finds it full and goes on.
  void send(std::span<const std::byte> message) override {
    while (vde_send(plug_, message.data(), message.size(), 0) !=
           static_cast<ssize_t>(message.size())) {
      if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR) {
        die("vde_send");
      }
    }
  }
  bool receive(std::span<std::byte> message, Micros patience) override {
    be_patient(patience);
    const ssize_t got = vde_recv(plug_, message.data(), message.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      return false;
    }
    if (got != static_cast<ssize_t>(message.size())) {
      die("vde_recv");
    }
    return true;
  }

 private:
  void be_patient(Micros patience) {
    if (patience == patience_) {
      return;
    }
    patience_ = patience;
    const timeval time{.tv_sec = patience.count() / 1'000'000,
                       .tv_usec = patience.count() % 1'000'000};
    if (setsockopt(vde_datafd(plug_), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) != 0) {
      die("SO_RCVTIMEO");
    }
  }

  VDECONN* plug_ = nullptr;
  Micros patience_{};
};

}  // namespace

Group vde_stations() {
  const bool there = std::filesystem::exists(kProgram);
  return {.name = "vde_switch",
          .prepare = [](const GroupSize& /*size*/) -> OpenPart {
            return [made = std::make_shared<Switch>()](Role /*role*/) {
              return std::make_unique<Station>(made->folder());
            };
          },
          .may_lose = true,
          .missing = there ? "" : "vde_switch is not installed (vde2)"};
}

}  // namespace flowfs::bench

#else

namespace flowfs::bench {

Group vde_stations() {
  return {.name = "vde_switch",
          .prepare = {},
          .may_lose = true,
          .missing = "libvdeplug was not there when this was built (libvdeplug-dev)"};
}

}  // namespace flowfs::bench

#endif
