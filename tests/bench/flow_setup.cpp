// SPDX-License-Identifier: BSD-3-Clause
// flow_setup MOUNT [ROUNDS [SCALE]]: what it costs to set up a flow through files, from the open of
// dial to the first byte at the other end, beside a single FUSE request; and whether that grows
// with the flows there are. Prints a JSON list of results.
//
// Both ends are in this process: what is measured is the daemon's work and the four calls, not the
// time to wake somebody. The server's end is opened before and waits.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <span>
#include <string>
#include <thread>

#include "measure.hpp"
#include "pairs.hpp"

namespace {

using flowfs::bench::percentile;
using flowfs::bench::Placement;
using flowfs::bench::Result;
using flowfs::bench::Series;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kFlows = 10'000;
constexpr std::size_t kCompared = 100;  // the first so many against the last
constexpr std::size_t kRequests = 2'000;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

std::size_t number(int argc, char** argv, int at, std::size_t otherwise) {
  const long value = at < argc ? std::atol(argv[at]) : 0;
  return value > 0 ? static_cast<std::size_t>(value) : otherwise;
}

// How many of `flows` this process may have descriptors for, once the limit is as high as it goes.
std::size_t as_many_as_allowed(std::size_t flows) {
  constexpr std::size_t kOthers = 100;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    die("getrlimit");
  }
  const rlim_t wanted = 2 * flows + kOthers;
  const rlimit raised{std::max(limit.rlim_cur, wanted), std::max(limit.rlim_max, wanted)};
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
    return flows;
  }
  limit.rlim_cur = limit.rlim_max;  // not allowed to raise this one
  if (limit.rlim_max < 4 * kCompared + kOthers || setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    die("setrlimit");
  }
  const std::size_t fewer = std::min<std::size_t>(flows, (limit.rlim_max - kOthers) / 2);
  if (fewer < flows) {
    std::fprintf(stderr, "flow_setup: %zu flows instead of %zu: no more descriptors are allowed\n",
                 fewer, flows);
  }
  return fewer;
}

// Microseconds from dialling to the first byte. Leaves the flow's two descriptors in `fds`.
double set_up(const std::string& directory, std::vector<int>& fds) {
  const int server = open((directory + "/accept").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (server < 0) {
    die("accept");
  }
  const std::string dial = directory + "/dial";
  char byte = 'x';
  const auto start = Clock::now();
  const int client = open(dial.c_str(), O_RDWR | O_CLOEXEC);
  if (client < 0) {
    die("dial");
  }
  if (write(client, &byte, 1) != 1 || read(server, &byte, 1) != 1) {
    die("the first byte");
  }
  const std::chrono::duration<double, std::micro> taken = Clock::now() - start;
  fds.push_back(client);
  fds.push_back(server);
  return taken.count();
}

// How long each of `count` flows took, all alive at the end.
std::vector<double> set_up_many(const std::string& directory, std::size_t count) {
  std::vector<int> fds;
  std::vector<double> times;
  fds.reserve(2 * count);
  times.reserve(count);
  while (times.size() < count) {
    times.push_back(set_up(directory, fds));
  }
  for (const int fd : fds) {
    close(fd);
  }
  // close() does not wait for the daemon: what is measured next must not pay for it.
  while (!std::filesystem::is_empty(directory + "/../../flows")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return times;
}

double median_of(std::span<const double> times) {
  return percentile({times.begin(), times.end()}, 0.5);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: flow_setup MOUNT [ROUNDS [SCALE]]\n";
    return 2;
  }
  const std::string directory = std::string(argv[1]) + "/names/bench-" + std::to_string(getpid());
  const std::size_t rounds = number(argc, argv, 2, 7);
  const std::size_t scale = number(argc, argv, 3, 1);
  const std::size_t flows = as_many_as_allowed(std::max(kFlows / scale, 2 * kCompared));
  if (mkdir(directory.c_str(), 0700) != 0) {
    die(directory.c_str());
  }
  set_up_many(directory, kCompared);  // what is allocated once
  Series first;
  Series last;
  Series request;
  for (std::size_t i = 0; i < rounds; ++i) {
    const std::vector<double> times = set_up_many(directory, flows);
    first.values.push_back(median_of(std::span(times).first(kCompared)));
    last.values.push_back(median_of(std::span(times).last(kCompared)));
    const auto asked =
        flowfs::bench::requests(directory + "/backlog", Placement::free, kRequests / scale + 10);
    request.values.push_back(percentile(asked, 0.5));
  }
  Result result{.name = "flow_setup",
                .placement = Placement::free,
                .bytes = 1,
                .metric = "first_byte_p50_us",
                .ours = first,
                .peer = "fuse_request",
                .theirs = request,
                .target = 15};
  nlohmann::ordered_json results = nlohmann::ordered_json::array({to_json(result)});
  result.metric = "first_byte_last_100_p50_us";
  result.ours = last;
  result.peer = "first_100_flows";
  result.theirs = first;
  result.target = 1.5;
  results.push_back(to_json(result));
  std::cout << results.dump(1) << '\n';
  return rmdir(directory.c_str()) == 0 ? 0 : 1;
}
