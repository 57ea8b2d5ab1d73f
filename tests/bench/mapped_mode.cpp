// SPDX-License-Identifier: BSD-3-Clause
// mapped_mode MOUNT [ROUNDS [SCALE]]: messages between two mapped ends, beside other ways to send
// messages, and beside what two processes can do at best, in the same run. Prints a JSON list of
// results.
#include <flowfs/flowfs.h>

#include "descriptors.hpp"
#include "mapped_flow.hpp"
#include "shared_words.hpp"
#include "suite.hpp"
#include "zeromq.hpp"

namespace {

using flowfs::bench::Arguments;
using flowfs::bench::BenchName;
using flowfs::bench::mapped_flows;
using flowfs::bench::Placement;
using flowfs::bench::Suite;
using flowfs::bench::Transport;

constexpr std::size_t kSmall = 64;
constexpr std::size_t kMedium = 65'536;
constexpr std::size_t kLarge = 917'504;  // the longest message, the nearest there is to 1 MiB
constexpr std::size_t kBatch = 32;

void measure_round_trips(Suite& suite, const std::string& mount, const BenchName& name,
                         Placement placement) {
  const std::vector<Transport> transports{
      mapped_flows("mapped_spinning", mount, name, {.flags = FLOWFS_SPIN_ALWAYS, .speed = 8}),
      mapped_flows("mapped_sleeping", mount, name, {.flags = FLOWFS_SPIN_NEVER}),
      mapped_flows("mapped_adaptive", mount, name, {}),
      flowfs::bench::cache_line(),
      flowfs::bench::bare_ring(true),
      flowfs::bench::bare_ring(false),
      flowfs::bench::raw_futex(),
      flowfs::bench::seqpackets(),
      flowfs::bench::pipes(),
      flowfs::bench::zeromq_pairs(),
  };
  suite.round_trips(
      placement, kSmall, 20'000, transports,
      {{.ours = "mapped_spinning", .peer = "cache_line", .pin = 1.7, .free = 1.7},
       {.ours = "mapped_spinning", .peer = "bare_ring_spinning"},
       {.ours = "mapped_sleeping", .peer = "futex", .pin = 1.15},
       {.ours = "mapped_sleeping", .peer = "af_unix_seqpacket", .pin = 0.9, .same = 1.0},
       {.ours = "mapped_sleeping", .peer = "bare_ring_blocking"},
       {.ours = "mapped_sleeping", .peer = "pipe"},
       {.ours = "mapped_adaptive", .peer = "af_unix_seqpacket", .free = 0.15},
       {.ours = "mapped_adaptive", .peer = "zeromq_pair"}});
}

void measure_one_way(Suite& suite, const std::string& mount, const BenchName& name,
                     Placement placement) {
  const std::vector<Transport> transports{
      mapped_flows("mapped_adaptive", mount, name, {.speed = 4}),
      mapped_flows("mapped_batches", mount, name, {.batch = kBatch, .speed = 8}),
      flowfs::bench::bare_ring(placement != Placement::same),
      flowfs::bench::seqpackets(),
      flowfs::bench::pipes(),
      flowfs::bench::zeromq_push_pull(),
  };
  const std::string ring = transports[2].name;
  suite.one_way(placement, kSmall, 100'000, false, transports,
                {{.ours = "mapped_adaptive", .peer = "af_unix_seqpacket", .pin = 12, .free = 12},
                 {.ours = "mapped_adaptive", .peer = ring, .pin = 0.8, .free = 0.8},
                 {.ours = "mapped_batches", .peer = ring},
                 {.ours = "mapped_adaptive", .peer = "pipe"},
                 {.ours = "mapped_adaptive", .peer = "zeromq_push_pull"}});
}

// No pool is shared by two users: every message is copied in and out.
void measure_two_users(Suite& suite, const std::string& mount, const BenchName& name,
                       Placement placement) {
  const std::vector<Transport> transports{
      mapped_flows("mapped_two_users", mount, name, {.two_users = true}),
      flowfs::bench::seqpackets(),
      flowfs::bench::pipes(),
      flowfs::bench::zeromq_push_pull(),
  };
  suite.one_way(placement, kMedium, 5'000, true, transports,
                {{.ours = "mapped_two_users", .peer = "af_unix_seqpacket", .pin = 1.3, .free = 1.3},
                 {.ours = "mapped_two_users", .peer = "pipe"},
                 {.ours = "mapped_two_users", .peer = "zeromq_push_pull"}});
}

// Within a pool nothing is copied: a round trip does not depend on the size.
void measure_in_place(Suite& suite, const std::string& mount, const BenchName& name,
                      Placement placement) {
  // The round trip of `bytes` under a name of its own, so that sizes can stand side by side.
  const auto of_size = [&](const std::string& label, std::size_t bytes, std::size_t block_least) {
    Transport transport = mapped_flows(label, mount, name,
                                       {.in_place = true, .speed = 4, .block_least = block_least});
    transport.bytes = bytes;
    return transport;
  };
  const std::vector<Transport> transports{
      of_size("loaned_64KiB", kMedium, 1),
      of_size("loaned_1MiB", kLarge, 1),
      of_size("loaned_64B", kSmall, 1),
      of_size("inline_64B", kSmall, SIZE_MAX),
  };
  suite.round_trips(placement, kMedium, 5'000, transports,
                    {{.ours = "loaned_64KiB", .peer = "loaned_64B", .pin = 1.3, .free = 1.3},
                     {.ours = "loaned_1MiB", .peer = "loaned_64B", .pin = 1.3, .free = 1.3},
                     {.ours = "loaned_64KiB", .peer = "inline_64B", .pin = 1.6, .free = 1.6},
                     {.ours = "loaned_1MiB", .peer = "inline_64B", .pin = 1.6, .free = 1.6}});
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = flowfs::bench::parse(argc, argv);
  const BenchName name(arguments.mount);
  Suite suite(arguments.rounds, arguments.scale);
  for (const Placement placement : {Placement::pin, Placement::free, Placement::same}) {
    measure_round_trips(suite, arguments.mount, name, placement);
    measure_one_way(suite, arguments.mount, name, placement);
    measure_two_users(suite, arguments.mount, name, placement);
    measure_in_place(suite, arguments.mount, name, placement);
  }
  suite.print();
  return 0;
}
