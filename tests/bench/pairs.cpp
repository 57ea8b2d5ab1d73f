// SPDX-License-Identifier: BSD-3-Clause
#include "pairs.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace flowfs::bench {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

double micros_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

int open_or_die(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) {
    die(path.c_str());
  }
  return fd;
}

void send_whole(int fd, const std::vector<char>& message) {
  if (write(fd, message.data(), message.size()) != static_cast<ssize_t>(message.size())) {
    die("write");
  }
}

void receive_whole(int fd, std::vector<char>& message) {
  if (read(fd, message.data(), message.size()) != static_cast<ssize_t>(message.size())) {
    die("read");
  }
}

// Runs `body` in a process of its own with the far end; the caller keeps the near one.
pid_t start_far_end(const Pair& pair, Placement placement, const std::function<void(int)>& body) {
  const pid_t pid = fork();
  if (pid < 0) {
    die("fork");
  }
  if (pid == 0) {
    close(pair.here);
    place(placement, true);
    body(pair.there);
    _exit(0);
  }
  close(pair.there);
  place(placement, false);
  return pid;
}

void finish_far_end(pid_t pid) {
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || status != 0) {
    std::fprintf(stderr, "the far end failed\n");
    std::exit(1);
  }
  unplace();
}

}  // namespace

MakePair flows_of(const std::string& name_directory) {
  return [name_directory] {
    Pair pair;
    pair.there = open_or_die(name_directory + "/accept", O_RDWR | O_NONBLOCK);
    pair.here = open_or_die(name_directory + "/dial", O_RDWR);
    if (fcntl(pair.there, F_SETFL, 0) != 0) {
      die("fcntl");
    }
    return pair;
  };
}

MakePair seqpackets() {
  return [] {
    std::array<int, 2> sockets{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
      die("socketpair");
    }
    // As much as a flow holds by default; a message must fit into it.
    const int room = 2 << 20;
    for (const int fd : sockets) {
      if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) != 0) {
        die("SO_SNDBUFFORCE (needs root)");
      }
    }
    return Pair{sockets[0], sockets[1]};
  };
}

std::vector<double> round_trips(const MakePair& make, Placement placement, std::size_t bytes,
                                std::size_t count) {
  const std::size_t warm_up = count / 10 + 10;
  const Pair pair = make();
  const pid_t far = start_far_end(pair, placement, [&](int fd) {
    std::vector<char> message(bytes);
    for (std::size_t i = 0; i < warm_up + count; ++i) {
      receive_whole(fd, message);
      send_whole(fd, message);
    }
  });
  std::vector<char> message(bytes, 'x');
  std::vector<double> times;
  times.reserve(count);
  for (std::size_t i = 0; i < warm_up + count; ++i) {
    const auto start = Clock::now();
    send_whole(pair.here, message);
    receive_whole(pair.here, message);
    if (i >= warm_up) {
      times.push_back(micros_since(start));
    }
  }
  finish_far_end(far);
  close(pair.here);
  return times;
}

double one_way(const MakePair& make, Placement placement, std::size_t bytes, std::size_t count) {
  const std::size_t warm_up = count / 10 + 1;
  const Pair pair = make();
  const pid_t far = start_far_end(pair, placement, [&](int fd) {
    std::vector<char> message(bytes);
    const std::vector<char> done(1);
    for (const std::size_t part : {warm_up, count}) {
      for (std::size_t i = 0; i < part; ++i) {
        receive_whole(fd, message);
      }
      send_whole(fd, done);
    }
  });
  const std::vector<char> message(bytes, 'x');
  std::vector<char> done(1);
  double seconds = 0;
  for (const std::size_t part : {warm_up, count}) {
    const auto start = Clock::now();
    for (std::size_t i = 0; i < part; ++i) {
      send_whole(pair.here, message);
    }
    receive_whole(pair.here, done);
    seconds = micros_since(start) / 1e6;
  }
  finish_far_end(far);
  close(pair.here);
  return static_cast<double>(count) / seconds;
}

std::vector<double> requests(const std::string& attribute_file, Placement placement,
                             std::size_t count) {
  const int fd = open_or_die(attribute_file, O_RDONLY);
  std::array<char, 64> buffer{};
  std::vector<double> times;
  times.reserve(count);
  place(placement, false);
  for (std::size_t i = 0; i < count; ++i) {
    const auto start = Clock::now();
    if (pread(fd, buffer.data(), buffer.size(), 0) <= 0) {
      die("pread");
    }
    times.push_back(micros_since(start));
  }
  unplace();
  close(fd);
  return times;
}

}  // namespace flowfs::bench
