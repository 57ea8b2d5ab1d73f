// SPDX-License-Identifier: BSD-3-Clause
// bus_paced MOUNT [ROUNDS [SCALE]]: what comes at its time and is read in place by eight readers of
// a lossy bus: frames of 4 MB at 30 a second, and 64 samples every 1.33 ms, these with a reader
// more that is stopped, too. $FLOWFS_DAEMON_PID is the daemon's process. Prints a JSON list of
// results.
//
// A frame is not drawn: its number is written into each page of it, and looked for there.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "bench_bus.hpp"
#include "processes.hpp"
#include "shared_memory.hpp"
#include "suite.hpp"

namespace {

using flowfs::Clock;
using flowfs::Instant;
using flowfs::bench::Arguments;
using flowfs::bench::BenchBus;
using flowfs::bench::die;
using flowfs::bench::Latch;
using flowfs::bench::percentile;
using flowfs::bench::processor_seconds;
using flowfs::bench::Result;
using flowfs::bench::Series;
using flowfs::bench::Suite;

constexpr std::size_t kReaders = 8;
constexpr std::size_t kMostPeriods = 1'024;
constexpr std::size_t kPage = 4'096;
constexpr std::int64_t kSilenceUs = 2'000'000;  // after which a reader gives up

struct Stream {
  std::string name;
  std::size_t bytes = 0;
  std::chrono::nanoseconds period{};
  std::size_t periods = 0;
};

// At the beginning of each page of a message.
struct Mark {
  std::uint64_t number = 0;  // from 1
  Instant sent{};
};

struct Reader {
  std::size_t seen = 0;
  std::array<float, kMostPeriods> latency_us{};
  double processor_s = 0;
};

// What the processes share.
struct Stage {
  Latch joined;  // the readers
  Latch ready;
  Latch go;
  std::array<Reader, kReaders + 1> readers;
  double sender_processor_s = 0;
};

void send_all(const BenchBus& bus, const Stream& stream, Stage& stage) {
  stage.joined.wait();  // so that none comes while the log becomes the sender's
  const auto member = join(bus, FLOWFS_SEND_ONLY);
  stage.ready.count_down();
  stage.go.wait();
  const double before = processor_seconds(0);
  Instant due = Clock::now();
  for (std::uint64_t number = 1; number <= stream.periods; ++number) {
    due += stream.period;
    std::this_thread::sleep_until(due);
    flowfs_space space{};
    if (flowfs_loan(member.get(), stream.bytes, FLOWFS_FOREVER, &space) != 0) {
      die("flowfs_loan");
    }
    const Mark mark{.number = number, .sent = Clock::now()};
    const std::span bytes(static_cast<std::byte*>(space.data), stream.bytes);
    for (std::size_t at = 0; at < bytes.size(); at += kPage) {
      std::memcpy(&bytes[at], &mark, sizeof mark);
    }
    if (flowfs_commit(&space, stream.bytes, FLOWFS_FOREVER) != 0) {
      die("flowfs_commit");
    }
  }
  stage.sender_processor_s = processor_seconds(0) - before;
}

bool is_whole(std::span<const std::byte> bytes, const Mark& mark) {
  for (std::size_t at = 0; at < bytes.size(); at += kPage) {
    if (std::memcmp(&bytes[at], &mark, sizeof mark) != 0) {
      return false;
    }
  }
  return true;
}

void read_all(const BenchBus& bus, const Stream& stream, Stage& stage, Reader& reader) {
  const auto member = join(bus, FLOWFS_RECEIVE_ONLY);
  stage.joined.count_down();
  stage.ready.count_down();
  stage.go.wait();
  const double before = processor_seconds(0);
  Mark mark{};
  while (mark.number < stream.periods) {
    flowfs_view view{};
    if (flowfs_borrow(member.get(), kSilenceUs, &view) != static_cast<ssize_t>(stream.bytes)) {
      break;
    }
    const Instant now = Clock::now();
    const std::span bytes(static_cast<const std::byte*>(view.data), view.bytes);
    Mark found{};
    std::memcpy(&found, bytes.data(), sizeof found);
    const bool whole = is_whole(bytes, found);
    // Overtaken while it was looked at: missed.
    if (flowfs_release(&view) == 0) {
      if (!whole || found.number <= mark.number || found.number > stream.periods) {
        die("a message that nobody sent");
      }
      mark = found;
      reader.latency_us[reader.seen++] =
          std::chrono::duration<float, std::micro>(now - found.sent).count();
    }
  }
  reader.processor_s = processor_seconds(0) - before;
}

struct Outcome {
  double missed = 0;           // by all readers together
  double processor_share = 0;  // of sender and readers, of one processor
  double daemon_share = 0;
  double latency_p99_us = 0;
};

Outcome sum_up(const Stage& stage, const Stream& stream, double seconds, double daemon_s) {
  Outcome outcome{.daemon_share = daemon_s / seconds};
  double spent = stage.sender_processor_s;
  std::vector<double> latencies;
  for (const Reader& reader : std::span(stage.readers).first(kReaders)) {
    outcome.missed += static_cast<double>(stream.periods - reader.seen);
    spent += reader.processor_s;
    const auto seen = std::span(reader.latency_us).first(reader.seen);
    latencies.insert(latencies.end(), seen.begin(), seen.end());
  }
  outcome.processor_share = spent / seconds;
  outcome.latency_p99_us = percentile(latencies, 0.99);
  return outcome;
}

// With another reader that is stopped all the time, where `with_stopped`.
Outcome run(const BenchBus& bus, const Stream& stream, bool with_stopped) {
  bus.wait_for_members(0);
  const std::size_t readers = kReaders + (with_stopped ? 1 : 0);
  const auto stage = flowfs::bench::share<Stage>();
  stage->joined.set(static_cast<std::uint32_t>(readers));
  stage->ready.set(static_cast<std::uint32_t>(readers + 1));
  stage->go.set(1);
  std::vector<pid_t> processes;
  for (std::size_t i = 0; i < readers; ++i) {
    processes.push_back(
        flowfs::bench::start_process([&] { read_all(bus, stream, *stage, stage->readers[i]); }));
  }
  const pid_t last_reader = processes.back();
  processes.push_back(flowfs::bench::start_process([&] { send_all(bus, stream, *stage); }));
  stage->ready.wait();
  if (with_stopped && kill(last_reader, SIGSTOP) != 0) {
    die("SIGSTOP");
  }
  const double daemon_before = processor_seconds(flowfs::bench::daemon_process());
  const Instant start = Clock::now();
  stage->go.count_down();
  std::this_thread::sleep_until(start + stream.period * (stream.periods + 1));
  const std::chrono::duration<double> seconds = Clock::now() - start;
  const double daemon_s = processor_seconds(flowfs::bench::daemon_process()) - daemon_before;
  if (with_stopped && kill(last_reader, SIGCONT) != 0) {
    die("SIGCONT");
  }
  for (const pid_t process : processes) {
    flowfs::bench::finish_process(process);
  }
  return sum_up(*stage, stream, seconds.count(), daemon_s);
}

struct Figures {
  Series missed;
  Series processor_share;
  Series daemon_share;
  Series latency_p99_us;

  void add(const Outcome& outcome) {
    missed.values.push_back(outcome.missed);
    processor_share.values.push_back(outcome.processor_share);
    daemon_share.values.push_back(outcome.daemon_share);
    latency_p99_us.values.push_back(outcome.latency_p99_us);
  }
};

std::size_t periods_of(const Arguments& arguments, std::size_t whole) {
  return std::max<std::size_t>(whole / arguments.scale, 3);
}

void measure_frames(Suite& suite, const Arguments& arguments, const std::string& writers,
                    const std::string& suffix) {
  const Stream stream{.name = "bus_frames" + suffix,
                      .bytes = std::size_t{4} << 20U,
                      .period = std::chrono::nanoseconds(1'000'000'000 / 30),
                      .periods = periods_of(arguments, 60)};
  BenchBus bus(arguments.mount, "frames");
  bus.set("depth", std::to_string(4 * stream.bytes)).set("mtu", std::to_string(stream.bytes));
  bus.set("writers", writers);
  Figures figures;
  for (std::size_t round = 0; round < arguments.rounds; ++round) {
    figures.add(run(bus, stream, false));
  }
  Result result{.name = stream.name, .bytes = stream.bytes, .metric = ""};
  const auto add = [&](const std::string& metric, const Series& ours,
                       std::optional<double> target) {
    result.metric = metric;
    result.ours = ours;
    result.target = target;
    suite.add(result);
  };
  add("missed", figures.missed, 0);
  add("processor_share", figures.processor_share, 0.15);
  add("daemon_processor_share", figures.daemon_share, std::nullopt);
}

void measure_samples(Suite& suite, const Arguments& arguments, const std::string& writers,
                     const std::string& suffix) {
  const Stream stream{.name = "bus_samples" + suffix,
                      .bytes = 64 * sizeof(float),
                      .period = std::chrono::nanoseconds(64 * 1'000'000'000L / 48'000),
                      .periods = periods_of(arguments, 750)};
  static_assert(kMostPeriods >= 750);
  BenchBus bus(arguments.mount, "samples");
  bus.set("writers", writers);
  Figures all;
  Figures stopped;
  for (std::size_t round = 0; round < arguments.rounds; ++round) {
    all.add(run(bus, stream, false));
    stopped.add(run(bus, stream, true));
  }
  for (const Figures* figures : {&all, &stopped}) {
    const std::string name = stream.name + (figures == &stopped ? "_stopped" : "");
    suite.add({.name = name,
               .bytes = stream.bytes,
               .metric = "latency_p99_us",
               .ours = figures->latency_p99_us,
               .target = 200});
    suite.add({.name = name,
               .bytes = stream.bytes,
               .metric = "missed",
               .ours = figures->missed,
               .target = 0});
  }
  suite.add({.name = stream.name + "_stopped",
             .bytes = stream.bytes,
             .metric = "latency_p99_us",
             .ours = stopped.latency_p99_us,
             .peer = stream.name,
             .theirs = all.latency_p99_us});
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = flowfs::bench::parse(argc, argv);
  Suite suite(arguments.rounds, arguments.scale);
  for (const bool only : {true, false}) {
    const std::string writers = only ? "1" : "max";
    const std::string suffix = only ? "_1_writer" : "";
    measure_frames(suite, arguments, writers, suffix);
    measure_samples(suite, arguments, writers, suffix);
  }
  suite.print();
  return 0;
}
