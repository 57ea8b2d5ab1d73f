// SPDX-License-Identifier: BSD-3-Clause
#include "suite.hpp"

#include <algorithm>
#include <iostream>

namespace flowfs::bench {
namespace {

std::string obstacle_of(const std::vector<Transport>& transports, const std::string& name,
                        Placement placement) {
  const auto found = std::ranges::find(transports, name, &Transport::name);
  return found == transports.end() ? "there is none" : obstacle(*found, placement);
}

}  // namespace

std::optional<double> Pairing::target(Placement placement) const {
  switch (placement) {
    case Placement::pin:
      return pin;
    case Placement::free:
      return free;
    case Placement::same:
      return same;
  }
  return std::nullopt;
}

void Suite::add(const Result& result) {
  results_.push_back(to_json(result));
  std::cerr << results_.back().dump() << '\n';
}

void Suite::add_skipped(const Result& result, const std::string& why) {
  results_.push_back(skipped(result, why));
  std::cerr << results_.back().dump() << '\n';
}

void Suite::print() const { std::cout << results_.dump(1) << '\n'; }

void Suite::pair_up(const Result& common, const std::vector<Transport>& transports,
                    const Figures& figures, const std::vector<Pairing>& pairings) {
  for (const Pairing& pairing : pairings) {
    Result result = common;
    const auto ours = std::ranges::find(transports, pairing.ours, &Transport::name);
    if (ours != transports.end() && ours->bytes != 0) {
      result.bytes = ours->bytes;
    }
    result.name = pairing.ours;
    result.peer = pairing.peer;
    result.target = pairing.target(common.placement);
    std::string why = obstacle_of(transports, pairing.ours, common.placement);
    if (why.empty()) {
      why = obstacle_of(transports, pairing.peer, common.placement);
    }
    if (why.empty()) {
      result.ours = figures.at(pairing.ours);
      result.theirs = figures.at(pairing.peer);
      add(result);
    } else {
      add_skipped(result, why);
    }
  }
}

void Suite::round_trips(Placement placement, std::size_t bytes, std::size_t count,
                        const std::vector<Transport>& transports,
                        const std::vector<Pairing>& pairings) {
  Figures median;
  Figures slow;
  for (std::size_t round = 0; round < rounds_; ++round) {
    for (const Transport& transport : transports) {
      if (obstacle(transport, placement).empty()) {
        const std::size_t messages = std::max<std::size_t>(count * transport.speed / scale_, 10);
        const auto times = bench::round_trips(
            transport, placement, transport.bytes != 0 ? transport.bytes : bytes, messages);
        median[transport.name].values.push_back(percentile(times, 0.5));
        slow[transport.name].values.push_back(percentile(times, 0.99));
      }
    }
  }
  Result result;
  result.placement = placement;
  result.bytes = bytes;
  result.metric = "rtt_p50_us";
  pair_up(result, transports, median, pairings);
  // Targets are for medians.
  std::vector<Pairing> untargeted;
  for (const Pairing& pairing : pairings) {
    untargeted.push_back({.ours = pairing.ours, .peer = pairing.peer});
  }
  result.metric = "rtt_p99_us";
  pair_up(result, transports, slow, untargeted);
}

void Suite::one_way(Placement placement, std::size_t bytes, std::size_t count, bool in_bytes,
                    const std::vector<Transport>& transports,
                    const std::vector<Pairing>& pairings) {
  const double unit = in_bytes ? static_cast<double>(bytes) : 1;
  Figures rates;
  for (std::size_t round = 0; round < rounds_; ++round) {
    for (const Transport& transport : transports) {
      if (obstacle(transport, placement).empty()) {
        const std::size_t messages = std::max<std::size_t>(count * transport.speed / scale_, 10);
        rates[transport.name].values.push_back(
            unit * bench::one_way(transport, placement, bytes, messages));
      }
    }
  }
  Result result;
  result.placement = placement;
  result.bytes = bytes;
  result.metric = in_bytes ? "bytes_per_s" : "msgs_per_s";
  result.at_most = false;
  pair_up(result, transports, rates, pairings);
}

}  // namespace flowfs::bench
