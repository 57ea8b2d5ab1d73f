// SPDX-License-Identifier: BSD-3-Clause
#include "transport.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

namespace flowfs::bench {
namespace {

using Clock = std::chrono::steady_clock;

double micros_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

// Runs `body` with the far side in a process of its own.
pid_t start_far_side(const OpenSide& open, Placement placement,
                     const std::function<void(Side&)>& body) {
  const pid_t pid = start_process([&] {
    place(placement, true);
    const auto side = open(true);
    body(*side);
  });
  place(placement, false);
  return pid;
}

void finish_far_side(pid_t pid) {
  finish_process(pid);
  unplace();
}

void send_all(Side& side, std::span<const std::byte> message, std::size_t count) {
  for (std::size_t sent = 0; sent < count;) {
    sent += side.send_some(message, count - sent);
  }
}

void receive_all(Side& side, std::span<std::byte> message, std::size_t count) {
  for (std::size_t received = 0; received < count;) {
    received += side.receive_some(message, count - received);
  }
}

}  // namespace

std::vector<double> round_trips(const Transport& transport, Placement placement, std::size_t bytes,
                                std::size_t count) {
  const std::size_t warm_up = count / 10 + 10;
  const OpenSide open = transport.prepare();
  const pid_t far = start_far_side(open, placement, [&](Side& side) {
    std::vector<std::byte> message(bytes);
    for (std::size_t i = 0; i < warm_up + count; ++i) {
      side.receive(message);
      side.send(message);
    }
  });
  std::vector<std::byte> message(bytes, std::byte{'x'});
  std::vector<double> times;
  times.reserve(count);
  {
    const auto side = open(false);
    for (std::size_t i = 0; i < warm_up + count; ++i) {
      const auto start = Clock::now();
      side->send(message);
      side->receive(message);
      if (i >= warm_up) {
        times.push_back(micros_since(start));
      }
    }
    finish_far_side(far);
  }
  return times;
}

double one_way(const Transport& transport, Placement placement, std::size_t bytes,
               std::size_t count) {
  const std::size_t warm_up = count / 10 + 1;
  const OpenSide open = transport.prepare();
  const pid_t far = start_far_side(open, placement, [&](Side& side) {
    std::vector<std::byte> message(bytes);
    const std::array<std::byte, 1> done{};
    for (const std::size_t part : {warm_up, count}) {
      receive_all(side, message, part);
      side.send(done);
    }
  });
  const std::vector<std::byte> message(bytes, std::byte{'x'});
  std::array<std::byte, 1> done{};
  double seconds = 0;
  {
    const auto side = open(false);
    for (const std::size_t part : {warm_up, count}) {
      const auto start = Clock::now();
      send_all(*side, message, part);
      side->receive(done);
      seconds = micros_since(start) / 1e6;
    }
    finish_far_side(far);
  }
  return static_cast<double>(count) / seconds;
}

std::vector<double> requests(const std::string& attribute_file, Placement placement,
                             std::size_t count) {
  const int fd = open(attribute_file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    die(attribute_file.c_str());
  }
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

std::string obstacle(const Transport& transport, Placement placement) {
  if (!transport.missing.empty() || !transport.spins) {
    return transport.missing;
  }
  cpu_set_t cores;
  const bool alone = sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) < 2;
  return placement == Placement::same || alone ? "it spins, and needs a processor for each side"
                                               : "";
}

Arguments parse(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: " << argv[0] << " MOUNT [ROUNDS [SCALE]]\n";
    std::exit(2);
  }
  const auto number = [&](int at, std::size_t otherwise) {
    const long value = at < argc ? std::atol(argv[at]) : 0;
    return value > 0 ? static_cast<std::size_t>(value) : otherwise;
  };
  return {.mount = argv[1], .rounds = number(2, 7), .scale = number(3, 1)};
}

BenchName::BenchName(const std::string& mount)
    : name_("bench-" + std::to_string(getpid())), folder_(mount + "/names/" + name_) {
  if (mkdir(folder_.c_str(), 0777) != 0 || chmod((folder_ + "/accept").c_str(), 0666) != 0 ||
      chmod((folder_ + "/dial").c_str(), 0666) != 0) {
    die(folder_.c_str());
  }
}

// The daemon hears of the last close after the fact.
BenchName::~BenchName() {
  while (rmdir(folder_.c_str()) != 0 && errno == EBUSY) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace flowfs::bench
