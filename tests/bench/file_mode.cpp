// SPDX-License-Identifier: BSD-3-Clause
// file_mode MOUNT [ROUNDS [SCALE]]: messages through files of a mounted tree, beside other ways to
// send messages and beside a single FUSE request, in the same run. Prints a JSON list of results.
#include "descriptors.hpp"
#include "suite.hpp"

namespace {

using flowfs::bench::Arguments;
using flowfs::bench::BenchName;
using flowfs::bench::Placement;
using flowfs::bench::Result;
using flowfs::bench::Suite;

constexpr std::size_t kSmall = 64;
constexpr std::size_t kLarge = 917'504;  // the longest message, the nearest there is to 1 MiB
constexpr std::size_t kRoundTrips = 20'000;

// A round trip, counted in requests to the daemon.
void compare_with_requests(Suite& suite, const Arguments& arguments, const BenchName& name,
                           Placement placement) {
  const std::size_t count = std::max<std::size_t>(kRoundTrips / arguments.scale, 10);
  Result result;
  for (std::size_t round = 0; round < arguments.rounds; ++round) {
    auto times =
        flowfs::bench::round_trips(flowfs::bench::file_flows(name), placement, kSmall, count);
    result.ours.values.push_back(flowfs::bench::percentile(times, 0.5));
    times = flowfs::bench::requests(name.folder() + "/backlog", placement, count);
    result.theirs.values.push_back(flowfs::bench::percentile(times, 0.5));
  }
  result.name = "file_mode";
  result.placement = placement;
  result.bytes = kSmall;
  result.metric = "rtt_p50_us";
  result.peer = "fuse_request";
  if (placement == Placement::free) {
    result.target = 4.5;
  }
  suite.add(result);
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = flowfs::bench::parse(argc, argv);
  const BenchName name(arguments.mount);
  Suite suite(arguments.rounds, arguments.scale);
  const std::vector transports{flowfs::bench::file_flows(name), flowfs::bench::seqpackets(),
                               flowfs::bench::pipes()};
  for (const Placement placement : {Placement::pin, Placement::free, Placement::same}) {
    suite.round_trips(placement, kSmall, kRoundTrips, transports,
                      {{.ours = "file_mode", .peer = "af_unix_seqpacket", .pin = 2.2},
                       {.ours = "file_mode", .peer = "pipe"}});
    compare_with_requests(suite, arguments, name, placement);
    suite.one_way(
        placement, kSmall, 100'000, false, transports,
        {{.ours = "file_mode", .peer = "af_unix_seqpacket", .pin = 0.1, .free = 0.1, .same = 0.1},
         {.ours = "file_mode", .peer = "pipe"}});
    suite.one_way(placement, kLarge, 1'000, true, transports,
                  {{.ours = "file_mode",
                    .peer = "af_unix_seqpacket",
                    .pin = 2.5 / 8,
                    .free = 2.5 / 8,
                    .same = 2.5 / 8},
                   {.ours = "file_mode", .peer = "pipe"}});
  }
  suite.print();
  return 0;
}
