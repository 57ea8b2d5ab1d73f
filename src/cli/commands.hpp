// SPDX-License-Identifier: BSD-3-Clause
// The commands of flowctl, one file each. Each returns the exit code of flowctl(1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cli/lib_flow.hpp"
#include "cli/perf_report.hpp"
#include "cli/top_view.hpp"

namespace flowfs::cli {

int run_status(const Common& common);

// The flow of an inherited descriptor.
int run_id(const Common& common, int descriptor);

int run_doctor(const Common& common);

struct WatchOptions {
  std::vector<std::string> kinds;
  std::string object_glob;
  std::uint64_t count = 0;  // events to show before it ends; 0: for ever
  bool ends = false;        // the stream may end, with its object
};
int run_watch(const Common& common, const WatchOptions& options);
// The same for any stream of events.
int follow_events(const Common& common, const std::string& path, const WatchOptions& options);

struct TopOptions {
  double delay_s = 2;
  std::uint64_t count = 0;  // samples to print before it ends; 0: for ever
  TopSort sort = TopSort::bytes;
  bool batch = false;
};
int run_top(const Common& common, const TopOptions& options);

enum class BusAction : std::uint8_t { list, members, watch, record, replay, link };
struct BusOptions {
  BusAction action = BusAction::list;
  std::vector<std::string> words;  // buses and files, as the action wants them
  std::uint64_t count = 0;         // messages or events before it ends; 0: for ever
  double speed = 1;                // of a replay; 0: as fast as it goes
  double delay_s = 0;              // between two tables; 0: there is one
  std::string dial;                // of a link: the name whose flow leads to the other bus; or
  std::string accept;              // empty where the other bus is named
};
int run_bus(const Common& common, const BusOptions& options);

struct PingOptions {
  std::string name;
  std::uint64_t count = 0;  // 0: until interrupted
  double interval_s = 1.0;
  double wait_s = 1.0;  // for each answer
  std::uint64_t size_bytes = 56;
  bool flood = false;
  bool mapped = false;
};
// 0: at least one answer; 1: none; 2: anything else.
int run_ping(const Common& common, const PingOptions& options);

struct PerfOptions {
  std::string name;
  PerfShape shape = PerfShape::round_trip;
  std::uint64_t size_bytes = 64;
  std::uint64_t count = 0;  // 0: until the time is over
  double seconds = 5;
  bool seconds_given = false;
  double rate = 0;  // messages a second; 0: as many as go
  double wait_s = 5;
  Waiting waiting = Waiting::adaptive;
  bool through_files = false;
};
int run_perf(const Common& common, const PerfOptions& options);

enum class ServeRole : std::uint8_t { echo, sink, source };
struct ServeOptions {
  std::string name;
  ServeRole role = ServeRole::echo;
  std::uint64_t size_bytes = 64;  // source: of each message
  std::uint64_t count = 0;        // messages of each flow, after which it is closed; 0: no end
  std::uint64_t flows = 0;        // flows that may end before the server does; 0: no end
  std::optional<std::uint32_t> mode;
  bool numbered = false;  // a source numbers its messages, a sink checks that none is missing
  bool verbose = false;
  bool mapped = false;
  Waiting waiting = Waiting::adaptive;  // mapped
};
int run_serve(const Common& common, const ServeOptions& options);

struct CertOptions {
  std::string action;  // init, server, client, lab, kem, revoke, check
  std::string word;    // the name; of init and check the folder, empty: `folder`
  std::string folder;
  std::vector<std::string> hosts;
  std::string subject;
  std::optional<unsigned> days;
  bool replace = false;
};
int run_cert(const Common& common, const CertOptions& options);
// 0: the daemon would refuse nothing of it.
int check_security_folder(const Common& common, const std::string& path);

}  // namespace flowfs::cli
