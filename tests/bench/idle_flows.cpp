// SPDX-License-Identifier: BSD-3-Clause
// idle_flows MOUNT [ROUNDS [SCALE]]: what mapped flows cost while nothing happens on them: memory,
// and work of the daemon, whose process is $FLOWFS_DAEMON_PID. Prints a JSON list of results.
//
// Memory is the shared memory of the machine, which others use too (hence the rounds), and what the
// two processes have of their own. What the kernel needs for the open files is not in it.
#include <flowfs/flowfs.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "suite.hpp"

namespace {

using flowfs::bench::Arguments;
using flowfs::bench::BenchName;
using flowfs::bench::die;
using flowfs::bench::Result;

constexpr std::size_t kFlows = 200;
constexpr std::int64_t kPatienceUs = 10'000'000;

struct Close {
  void operator()(flowfs_handle* handle) const { flowfs_close(handle); }
};
using Flow = std::unique_ptr<flowfs_handle, Close>;

// The number behind `key` in a file of `key: number` lines.
double number_in(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  double value = 0;
  while (file >> word) {
    if (word == key && file >> value) {
      return value;
    }
  }
  die(path.c_str());
}

double memory_bytes(const std::string& daemon) {
  const double kib = number_in("/proc/meminfo", "Shmem:") +
                     number_in("/proc/self/status", "RssAnon:") +
                     number_in("/proc/" + daemon + "/status", "RssAnon:");
  return kib * 1024;
}

// How often its threads have gone to sleep so far.
double sleeps_of(const std::string& daemon) {
  double sleeps = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + daemon + "/task")) {
    sleeps += number_in(task.path().string() + "/status", "voluntary_ctxt_switches:");
  }
  return sleeps;
}

Flow settled(flowfs_handle* handle) {
  if (handle == nullptr || (flowfs_send(handle, nullptr, 0, kPatienceUs) != 0 && errno != EINVAL)) {
    die("a flow");
  }
  return Flow(handle);
}

// Both ends of a flow that has carried a message each way.
void make_pair(const Arguments& arguments, const BenchName& name, std::vector<Flow>& ends) {
  const char* const mount = arguments.mount.c_str();
  flowfs_handle* const serving = flowfs_accept(mount, name.name().c_str(), 0, 0);
  Flow client = settled(flowfs_dial(mount, name.name().c_str(), 0, kPatienceUs));
  Flow server = settled(serving);
  std::byte byte{};
  for (flowfs_handle* from : {client.get(), server.get()}) {
    flowfs_handle* const to = from == client.get() ? server.get() : client.get();
    if (flowfs_send(from, &byte, 1, kPatienceUs) != 0 ||
        flowfs_recv(to, &byte, 1, kPatienceUs) != 1) {
      die("a message");
    }
  }
  ends.push_back(std::move(client));
  ends.push_back(std::move(server));
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = flowfs::bench::parse(argc, argv);
  const std::string pid = std::to_string(flowfs::bench::daemon_process());
  const BenchName name(arguments.mount);
  const std::size_t flows = std::max<std::size_t>(kFlows / arguments.scale, 10);
  const auto rest = std::chrono::milliseconds(1000 / std::min<std::size_t>(arguments.scale, 10));
  Result memory{.name = "idle_mapped_flow", .metric = "memory_bytes", .target = 65'536};
  Result wake_ups{.name = "idle_daemon", .metric = "wake_ups_per_s", .target = 0};
  {
    std::vector<Flow> warm_up;  // what is allocated once
    make_pair(arguments, name, warm_up);
  }
  for (std::size_t round = 0; round < arguments.rounds; ++round) {
    std::vector<Flow> ends;
    ends.reserve(2 * flows);
    const double before = memory_bytes(pid);
    while (ends.size() < 2 * flows) {
      make_pair(arguments, name, ends);
    }
    memory.ours.values.push_back((memory_bytes(pid) - before) / static_cast<double>(flows));
    // What was put off at the set-up (closed files, rates) is over by then: at rest is what counts.
    std::this_thread::sleep_for(2 * rest);
    const double sleeps = sleeps_of(pid);
    std::this_thread::sleep_for(rest);
    wake_ups.ours.values.push_back((sleeps_of(pid) - sleeps) /
                                   std::chrono::duration<double>(rest).count());
    ends.clear();
    // close() does not wait for the daemon: the next round must not see these.
    while (!std::filesystem::is_empty(arguments.mount + "/flows")) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  flowfs::bench::Suite suite(arguments.rounds, arguments.scale);
  suite.add(memory);
  suite.add(wake_ups);
  suite.print();
  return 0;
}
