// SPDX-License-Identifier: BSD-3-Clause
// file_mode MOUNT [ROUNDS [SCALE]]: messages through files of a mounted tree, beside AF_UNIX
// SOCK_SEQPACKET and beside a single FUSE request, in the same run. Prints a JSON list of results.
//
// SCALE divides the number of messages of each round, for a run that only shows that it works.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "measure.hpp"
#include "pairs.hpp"

namespace {

using flowfs::bench::MakePair;
using flowfs::bench::percentile;
using flowfs::bench::Placement;
using flowfs::bench::Result;
using flowfs::bench::Series;

constexpr std::size_t kSmall = 64;
constexpr std::size_t kLarge = 917'504;  // the longest message, the nearest there is to 1 MiB

struct Suite {
  std::string directory;  // of a name
  std::size_t rounds;
  std::size_t scale;
  nlohmann::ordered_json results = nlohmann::ordered_json::array();

  void add(const Result& result) {
    results.push_back(to_json(result));
    std::cerr << results.back().dump() << '\n';
  }

  void measure_round_trips(Placement placement) {
    const std::size_t count = 20'000 / scale;
    const MakePair flows = flowfs::bench::flows_of(directory);
    const MakePair sockets = flowfs::bench::seqpackets();
    Series ours;
    Series ours_p99;
    Series theirs;
    Series theirs_p99;
    Series request;
    for (std::size_t i = 0; i < rounds; ++i) {
      auto times = flowfs::bench::round_trips(flows, placement, kSmall, count);
      ours.values.push_back(percentile(times, 0.5));
      ours_p99.values.push_back(percentile(times, 0.99));
      times = flowfs::bench::round_trips(sockets, placement, kSmall, count);
      theirs.values.push_back(percentile(times, 0.5));
      theirs_p99.values.push_back(percentile(times, 0.99));
      times = flowfs::bench::requests(directory + "/backlog", placement, count);
      request.values.push_back(percentile(times, 0.5));
    }
    Result result{.name = "file_mode",
                  .placement = placement,
                  .bytes = kSmall,
                  .metric = "rtt_p50_us",
                  .ours = ours,
                  .peer = "af_unix_seqpacket",
                  .theirs = theirs};
    if (placement == Placement::pin) {
      result.target = 2.2;
    }
    add(result);
    result.metric = "rtt_p99_us";
    result.ours = ours_p99;
    result.theirs = theirs_p99;
    result.target.reset();
    add(result);
    result.metric = "rtt_p50_us";
    result.ours = ours;
    result.peer = "fuse_request";
    result.theirs = request;
    if (placement == Placement::free) {
      result.target = 4.5;
    }
    add(result);
  }

  // The rate, or the bytes a second where the messages are large.
  void measure_one_way(Placement placement, std::size_t bytes, std::size_t count, double target) {
    const MakePair flows = flowfs::bench::flows_of(directory);
    const MakePair sockets = flowfs::bench::seqpackets();
    const double unit = bytes == kLarge ? static_cast<double>(bytes) : 1;
    Series ours;
    Series theirs;
    for (std::size_t i = 0; i < rounds; ++i) {
      ours.values.push_back(unit * flowfs::bench::one_way(flows, placement, bytes, count));
      theirs.values.push_back(unit * flowfs::bench::one_way(sockets, placement, bytes, count));
    }
    add({.name = "file_mode",
         .placement = placement,
         .bytes = bytes,
         .metric = bytes == kLarge ? "bytes_per_s" : "msgs_per_s",
         .ours = ours,
         .peer = "af_unix_seqpacket",
         .theirs = theirs,
         .target = target,
         .at_most = false});
  }
};

std::size_t number(int argc, char** argv, int at, std::size_t otherwise) {
  const long value = at < argc ? std::atol(argv[at]) : 0;
  return value > 0 ? static_cast<std::size_t>(value) : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: file_mode MOUNT [ROUNDS [SCALE]]\n";
    return 2;
  }
  Suite suite{.directory = std::string(argv[1]) + "/names/bench-" + std::to_string(getpid()),
              .rounds = number(argc, argv, 2, 7),
              .scale = number(argc, argv, 3, 1)};
  if (mkdir(suite.directory.c_str(), 0700) != 0) {
    std::perror(suite.directory.c_str());
    return 1;
  }
  for (const Placement placement : {Placement::pin, Placement::free, Placement::same}) {
    suite.measure_round_trips(placement);
    suite.measure_one_way(placement, kSmall, 100'000 / suite.scale, 0.1);
    suite.measure_one_way(placement, kLarge, 1'000 / suite.scale, 2.5 / 8);
  }
  std::cout << suite.results.dump(1) << '\n';
  return rmdir(suite.directory.c_str()) == 0 ? 0 : 1;
}
