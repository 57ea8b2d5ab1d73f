// SPDX-License-Identifier: BSD-3-Clause
// Transports measured side by side: in each round every one of them once, one after the other.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "measure.hpp"
#include "transport.hpp"

namespace flowfs::bench {

// Two of the transports whose figures make a line of the results.
struct Pairing {
  std::string ours;
  std::string peer;
  // Of the ratio, by placement: pin, free, same. Round trips: at most; rates: at least.
  std::optional<double> pin = std::nullopt;
  std::optional<double> free = std::nullopt;
  std::optional<double> same = std::nullopt;

  [[nodiscard]] std::optional<double> target(Placement placement) const;
};

class Suite {
 public:
  Suite(std::size_t rounds, std::size_t scale) : rounds_(rounds), scale_(scale) {}

  // `count` messages of the slow transports, before the scale.
  void round_trips(Placement placement, std::size_t bytes, std::size_t count,
                   const std::vector<Transport>& transports, const std::vector<Pairing>& pairings);
  // Messages a second, or bytes where `in_bytes`.
  void one_way(Placement placement, std::size_t bytes, std::size_t count, bool in_bytes,
               const std::vector<Transport>& transports, const std::vector<Pairing>& pairings);

  void add(const Result& result);
  void add_skipped(const Result& result, const std::string& why);
  // All of them on stdout.
  void print() const;

 private:
  using Figures = std::map<std::string, Series>;
  void pair_up(const Result& common, const std::vector<Transport>& transports,
               const Figures& figures, const std::vector<Pairing>& pairings);

  std::size_t rounds_;
  std::size_t scale_;
  nlohmann::ordered_json results_ = nlohmann::ordered_json::array();
};

}  // namespace flowfs::bench
