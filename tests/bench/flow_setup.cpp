// SPDX-License-Identifier: BSD-3-Clause
// flow_setup MOUNT [ROUNDS [SCALE]]: what it costs to set up a flow, through files and mapped, from
// the dial to the first byte at the other end, beside a single FUSE request; and whether that grows
// with the flows there are. Prints a JSON list of results.
//
// Both ends are in this process: what is measured is the daemon's work and the calls, not the time
// to wake somebody. The server's end is opened before and waits; where it is mapped, that both ends
// map is part of it.
#include <fcntl.h>
#include <flowfs/flowfs.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <thread>

#include "suite.hpp"

namespace {

using flowfs::bench::Arguments;
using flowfs::bench::BenchName;
using flowfs::bench::die;
using flowfs::bench::percentile;
using flowfs::bench::Placement;
using flowfs::bench::Result;
using flowfs::bench::Series;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kFlows = 10'000;
constexpr std::size_t kCompared = 100;  // the first so many against the last
constexpr std::size_t kRequests = 2'000;
constexpr std::int64_t kPatienceUs = 10'000'000;

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

// close() does not wait for the daemon: what is measured next must not pay for it.
void wait_until_closed(const std::string& directory) {
  while (!std::filesystem::is_empty(directory + "/../../flows")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
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
  wait_until_closed(directory);
  return times;
}

// The same for flows whose ends map each other's memory.
std::vector<double> set_up_mapped(const Arguments& arguments, const BenchName& name,
                                  std::size_t count) {
  const char* const mount = arguments.mount.c_str();
  const char* const flow = name.name().c_str();
  std::vector<flowfs_handle*> ends;
  std::vector<double> times;
  std::byte byte{};
  while (times.size() < count) {
    flowfs_handle* const server = flowfs_accept(mount, flow, 0, 0);
    if (server == nullptr) {
      die("flowfs_accept");
    }
    const auto start = Clock::now();
    flowfs_handle* const client = flowfs_dial(mount, flow, 0, kPatienceUs);
    if (client == nullptr || flowfs_send(client, &byte, 1, kPatienceUs) != 0 ||
        flowfs_recv(server, &byte, 1, kPatienceUs) != 1) {
      die("the first byte");
    }
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    ends.insert(ends.end(), {client, server});
  }
  for (flowfs_handle* const end : ends) {
    flowfs_close(end);
  }
  wait_until_closed(name.folder());
  return times;
}

double median_of(std::span<const double> times) {
  return percentile({times.begin(), times.end()}, 0.5);
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = flowfs::bench::parse(argc, argv);
  const BenchName name(arguments.mount);
  const std::string& directory = name.folder();
  const std::size_t flows = as_many_as_allowed(std::max(kFlows / arguments.scale, 2 * kCompared));
  set_up_many(directory, kCompared);  // what is allocated once
  set_up_mapped(arguments, name, kCompared);
  Series first;
  Series last;
  Series mapped;
  Series request;
  for (std::size_t i = 0; i < arguments.rounds; ++i) {
    const std::vector<double> times = set_up_many(directory, flows);
    first.values.push_back(median_of(std::span(times).first(kCompared)));
    last.values.push_back(median_of(std::span(times).last(kCompared)));
    mapped.values.push_back(median_of(set_up_mapped(arguments, name, kCompared)));
    const auto asked = flowfs::bench::requests(directory + "/backlog", Placement::free,
                                               kRequests / arguments.scale + 10);
    request.values.push_back(percentile(asked, 0.5));
  }
  flowfs::bench::Suite suite(arguments.rounds, arguments.scale);
  Result result{.name = "flow_setup",
                .placement = Placement::free,
                .bytes = 1,
                .metric = "first_byte_p50_us",
                .ours = first,
                .peer = "fuse_request",
                .theirs = request,
                .target = 15};
  suite.add(result);
  result.name = "flow_setup_mapped";
  result.ours = mapped;
  result.target = 30;
  suite.add(result);
  result.name = "flow_setup";
  result.metric = "first_byte_last_100_p50_us";
  result.ours = last;
  result.peer = "first_100_flows";
  result.theirs = first;
  result.target = 1.5;
  suite.add(result);
  suite.print();
  return 0;
}
