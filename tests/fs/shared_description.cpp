// SPDX-License-Identifier: BSD-3-Clause
// shared_description FD: a parent and a child on one description of a flow. The parent writes eight
// messages and waits for room most of the time; the child reads one message meanwhile, sees that
// poll answers it, and ends. Neither may hold up the other.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace {

constexpr int kMessages = 8;

int child(int fd) {
  std::array<char, 4096> buffer{};
  pollfd waiting{fd, POLLIN, 0};
  if (poll(&waiting, 1, 10'000) != 1 || (waiting.revents & POLLIN) == 0) {
    std::perror("poll");
    return 1;
  }
  const ssize_t size = read(fd, buffer.data(), buffer.size());
  if (size <= 0) {
    std::perror("read");
    return 1;
  }
  std::printf("child read %.*s\n", static_cast<int>(size), buffer.data());
  std::fflush(stdout);
  return 0;
}

int parent(int fd) {
  std::array<char, 4096> message{};
  for (int i = 0; i < kMessages; ++i) {
    if (write(fd, message.data(), message.size()) != static_cast<ssize_t>(message.size())) {
      std::perror("write");
      return 1;
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: shared_description FD\n");
    return 2;
  }
  const int fd = std::atoi(argv[1]);
  const pid_t pid = fork();
  if (pid < 0) {
    std::perror("fork");
    return 1;
  }
  if (pid == 0) {
    return child(fd);
  }
  const int result = parent(fd);
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || status != 0 || result != 0) {
    return 1;
  }
  std::printf("parent wrote %d\n", kMessages);
  return 0;
}
