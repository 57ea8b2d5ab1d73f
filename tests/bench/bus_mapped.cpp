// SPDX-License-Identifier: BSD-3-Clause
// bus_mapped MOUNT [ROUNDS [SCALE]]: messages between mapped members of a bus: what a send costs
// with ever more readers, one to many and many to many, beside a bare ring, ZeroMQ and vde_switch
// in the same run. $FLOWFS_DAEMON_PID is the daemon's process. Prints a JSON list of results.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "bench_bus.hpp"
#include "group.hpp"
#include "processes.hpp"
#include "shared_words.hpp"
#include "suite.hpp"
#include "vde.hpp"
#include "zeromq.hpp"

namespace {

using flowfs::Clock;
using flowfs::bench::Arguments;
using flowfs::bench::BenchBus;
using flowfs::bench::bus_members;
using flowfs::bench::die;
using flowfs::bench::Group;
using flowfs::bench::GroupSize;
using flowfs::bench::Member;
using flowfs::bench::Result;
using flowfs::bench::Series;
using flowfs::bench::Suite;
using flowfs::bench::Traffic;

constexpr std::size_t kBytes = 64;
constexpr std::size_t kSends = 200'000;
constexpr std::size_t kAudience = 100'000;
constexpr std::size_t kOneToMany = 200'000;
constexpr std::size_t kManyToMany = 10'000;  // of each sender
constexpr double kFlat = 1.2;
constexpr double kBesideVde = 20;

struct Setting {
  Arguments arguments;
  pid_t daemon = 0;

  [[nodiscard]] std::size_t count(std::size_t whole) const {
    return std::max<std::size_t>(whole / arguments.scale, 100);
  }
};

using Figures = std::map<std::string, Series>;

// --- what a send costs ---

// Nanoseconds a message, while so many members are mapped and do not look. The sender leaves when
// the daemon has taken what it sent.
double send_ns(const BenchBus& bus, std::size_t readers, std::size_t count) {
  bus.wait_for_members(0);
  std::vector<Member> mapped;
  while (mapped.size() < readers) {
    mapped.push_back(join(bus, FLOWFS_RECEIVE_ONLY));
  }
  const std::vector<std::byte> message(kBytes, std::byte{'x'});
  std::chrono::duration<double, std::nano> taken{};
  for (const std::size_t part : {count / 10 + 1, count}) {
    bus.wait_for_members(readers);
    Member sender = join(bus, FLOWFS_SEND_ONLY);
    const auto start = Clock::now();
    for (std::size_t i = 0; i < part; ++i) {
      if (flowfs_send(sender.get(), message.data(), message.size(), FLOWFS_FOREVER) != 0) {
        die("flowfs_send");
      }
    }
    sender.reset();
    taken = Clock::now() - start;
  }
  return taken.count() / static_cast<double>(count);
}

// The same in processor time of the sender and the daemon, while all of them receive what they can.
double send_processor_ns(const Setting& setting, const BenchBus& bus, std::size_t readers,
                         std::size_t count) {
  Group group = bus_members("bus", bus);
  group.may_lose = true;
  const Traffic traffic =
      flowfs::bench::run(group, {.senders = 1, .readers = readers}, kBytes, count, setting.daemon);
  return (traffic.senders_processor_s + traffic.other_processor_s) / static_cast<double>(count) *
         1e9;
}

void measure_sends(Suite& suite, const Setting& setting, const std::string& writers) {
  BenchBus bus(setting.arguments.mount, "sends");
  bus.set("writers", writers);
  const std::vector<std::size_t> crowds{1, 8, 64};
  std::vector<Series> waiting(crowds.size());
  std::vector<Series> working(crowds.size());
  for (std::size_t round = 0; round < setting.arguments.rounds; ++round) {
    for (std::size_t i = 0; i < crowds.size(); ++i) {
      waiting[i].values.push_back(send_ns(bus, crowds[i], setting.count(kSends)));
      working[i].values.push_back(
          send_processor_ns(setting, bus, crowds[i], setting.count(kAudience)));
    }
  }
  const std::string name = writers == "1" ? "bus_1_writer_" : "bus_";
  const auto add = [&](std::size_t at, const std::string& metric, const std::vector<Series>& all) {
    suite.add({.name = name + std::to_string(crowds[at]) + "_readers",
               .bytes = kBytes,
               .metric = metric,
               .ours = all[at],
               .peer = name + "1_reader",
               .theirs = all[0],
               .target = kFlat});
  };
  for (std::size_t at = 1; at < crowds.size(); ++at) {
    add(at, "send_ns", waiting);
    add(at, "send_processor_ns", working);
  }
}

// --- one to many, and many to many ---

struct Comparison {
  std::string ours;
  std::string peer;
  std::optional<double> target = std::nullopt;  // of the ratio, at least
};

std::string obstacle_of(const std::vector<Group>& groups, const std::string& name) {
  return std::ranges::find(groups, name, &Group::name)->missing;
}

void compare(Suite& suite, const std::string& metric, const std::vector<Group>& groups,
             const Figures& rates, const std::vector<Comparison>& comparisons) {
  for (const Comparison& comparison : comparisons) {
    Result result{.name = comparison.ours,
                  .bytes = kBytes,
                  .metric = metric,
                  .ours = rates.at(comparison.ours),
                  .peer = comparison.peer,
                  .target = comparison.target,
                  .at_most = false};
    const std::string why = obstacle_of(groups, comparison.peer);
    if (why.empty()) {
      result.theirs = rates.at(comparison.peer);
      suite.add(result);
    } else {
      suite.add_skipped(result, why);
    }
  }
}

// Messages sent a second, and read by everybody.
void measure_one_to_many(Suite& suite, const Setting& setting, std::size_t readers) {
  BenchBus bus(setting.arguments.mount, "one");
  bus.set("delivery", "lossless");
  const std::vector<Group> groups{bus_members("bus_lossless", bus), flowfs::bench::bare_broadcast(),
                                  flowfs::bench::zeromq_pub_sub()};
  Figures rates;
  for (std::size_t round = 0; round < setting.arguments.rounds; ++round) {
    for (const Group& group : groups) {
      if (group.missing.empty()) {
        const Traffic traffic = flowfs::bench::run(group, {.senders = 1, .readers = readers},
                                                   kBytes, setting.count(kOneToMany * group.speed));
        rates[group.name].values.push_back(static_cast<double>(traffic.sent) / traffic.seconds);
      }
    }
  }
  compare(suite, "sent_per_s_to_" + std::to_string(readers), groups, rates,
          {{.ours = "bus_lossless", .peer = "bare_broadcast_ring", .target = 0.8},
           {.ours = "bus_lossless", .peer = "zeromq_pub_sub", .target = 1.0}});
}

// What a lossy bus has neither delivered nor counted as dropped.
double uncounted(const BenchBus& bus, const Traffic& traffic, std::uint64_t dropped_before) {
  bus.wait_for_members(0);
  const std::uint64_t dropped = bus.count("dropped") - dropped_before;
  return static_cast<double>(traffic.lost - std::min(traffic.lost, dropped));
}

// Messages delivered a second, to all readers together.
void measure_many_to_many(Suite& suite, const Setting& setting) {
  constexpr GroupSize kSize{.senders = 4, .readers = 4};
  BenchBus lossless(setting.arguments.mount, "many");
  lossless.set("delivery", "lossless");
  const BenchBus lossy(setting.arguments.mount, "many-lossy");
  std::vector<Group> groups{bus_members("bus_lossless", lossless), bus_members("bus_lossy", lossy),
                            flowfs::bench::vde_stations()};
  groups[1].may_lose = true;
  Figures rates;
  Series lost;
  for (std::size_t round = 0; round < setting.arguments.rounds; ++round) {
    for (const Group& group : groups) {
      if (!group.missing.empty()) {
        continue;
      }
      const std::uint64_t dropped = lossy.count("dropped");
      const Traffic traffic =
          flowfs::bench::run(group, kSize, kBytes, setting.count(kManyToMany * group.speed));
      rates[group.name].values.push_back(static_cast<double>(traffic.delivered) / traffic.seconds);
      if (group.name == "bus_lossy") {
        lost.values.push_back(uncounted(lossy, traffic, dropped));
      }
    }
  }
  compare(suite, "delivered_per_s_4_to_4", groups, rates,
          {{.ours = "bus_lossless", .peer = "vde_switch", .target = kBesideVde},
           {.ours = "bus_lossy", .peer = "vde_switch", .target = kBesideVde}});
  suite.add({.name = "bus_lossy",
             .bytes = kBytes,
             .metric = "lost_uncounted",
             .ours = lost,
             .target = 0});
}

}  // namespace

int main(int argc, char** argv) {
  const Setting setting{.arguments = flowfs::bench::parse(argc, argv),
                        .daemon = flowfs::bench::daemon_process()};
  Suite suite(setting.arguments.rounds, setting.arguments.scale);
  for (const char* const writers : {"1", "max"}) {
    measure_sends(suite, setting, writers);
  }
  for (const std::size_t readers : {std::size_t{4}, std::size_t{8}}) {
    measure_one_to_many(suite, setting, readers);
  }
  measure_many_to_many(suite, setting);
  suite.print();
  return 0;
}
