// SPDX-License-Identifier: BSD-3-Clause
#include "measure.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace flowfs::bench {
namespace {

void bind_to(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(static_cast<std::size_t>(core), &cores);
  // Without that core (a container, one processor) the process stays where it is: the numbers say
  // so.
  (void)sched_setaffinity(0, sizeof cores, &cores);
}

double rounded(double value) {
  const double scale = value < 100 ? 1000 : 1;
  return std::round(value * scale) / scale;
}

}  // namespace

const char* to_string(Placement placement) {
  switch (placement) {
    case Placement::pin:
      return "pin";
    case Placement::free:
      return "free";
    case Placement::same:
      return "same";
  }
  return "";
}

void place(Placement placement, bool second) {
  if (placement == Placement::free) {
    unplace();
  } else {
    bind_to(placement == Placement::pin && second ? 1 : 0);
  }
}

void unplace() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  for (long core = 0; core < std::min(sysconf(_SC_NPROCESSORS_CONF), long{CPU_SETSIZE}); ++core) {
    CPU_SET(static_cast<std::size_t>(core), &cores);
  }
  (void)sched_setaffinity(0, sizeof cores, &cores);
}

double percentile(std::vector<double> values, double part) {
  if (values.empty()) {
    return 0;
  }
  const auto at = static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

double Series::median() const { return percentile(values, 0.5); }

double Series::spread() const {
  if (values.empty() || median() == 0) {
    return 0;
  }
  const auto [least, most] = std::ranges::minmax(values);
  return (most - least) / median();
}

nlohmann::ordered_json to_json(const Result& result) {
  using nlohmann::ordered_json;
  const bool alone = result.peer.empty();
  const double peer = result.theirs.median();
  const double ratio = peer == 0 ? 0 : result.ours.median() / peer;
  ordered_json line{
      {"name", result.name},
      {"mode", to_string(result.placement)},
      {"bytes", result.bytes},
      {"metric", result.metric},
      {"value", rounded(result.ours.median())},
      {"spread", rounded(result.ours.spread())},
      {"peer", alone ? ordered_json() : ordered_json(result.peer)},
      {"peer_value", alone ? ordered_json() : ordered_json(rounded(peer))},
      {"peer_spread", alone ? ordered_json() : ordered_json(rounded(result.theirs.spread()))},
      {"ratio", alone ? ordered_json() : ordered_json(rounded(ratio))},
      {"target", nullptr},
      {"met", nullptr}};
  if (result.target) {
    const double judged = alone ? result.ours.median() : ratio;
    line["target"] = *result.target;
    line["met"] = result.at_most ? judged <= *result.target : judged >= *result.target;
  }
  return line;
}

nlohmann::ordered_json skipped(const Result& result, const std::string& why) {
  nlohmann::ordered_json line = to_json(result);
  for (const char* key : {"value", "spread", "peer_value", "peer_spread", "ratio", "met"}) {
    line[key] = nullptr;
  }
  line["skipped"] = why;
  return line;
}

}  // namespace flowfs::bench
