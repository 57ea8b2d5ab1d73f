// SPDX-License-Identifier: BSD-3-Clause
// What every benchmark shares: rounds that interleave ours and a peer, their medians and spread,
// and the list of results that scripts read.
//
// A shared machine drifts, so a figure means something only beside another of the same minute: each
// round measures ours and then the peer, and the ratio is that of the medians. Spread is
// (largest - smallest) / median over the rounds.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace flowfs::bench {

// Where the two processes of a measurement run. The daemon is always where the scheduler puts it.
enum class Placement : std::uint8_t { pin, free, same };

const char* to_string(Placement placement);

// Binds the calling process: the first to one core, the second to another or the same one.
void place(Placement placement, bool second);

// Undoes place().
void unplace();

struct Series {
  std::vector<double> values;  // one a round

  [[nodiscard]] double median() const;
  [[nodiscard]] double spread() const;
};

double percentile(std::vector<double> values, double part);  // 0 <= part <= 1

// A line of the results.
struct Result {
  std::string name;
  Placement placement = Placement::free;
  std::size_t bytes = 0;
  std::string metric;  // rtt_p50_us, rtt_p99_us, msgs_per_s, bytes_per_s, request_us
  Series ours = {};
  std::string peer = {};  // empty: none, and the target is of the value itself
  Series theirs = {};
  std::optional<double> target = std::nullopt;  // of the ratio ours / theirs
  bool at_most = true;                          // the target is a bound above, or below
};

nlohmann::ordered_json to_json(const Result& result);

// The line of what could not be measured: no values, and why.
nlohmann::ordered_json skipped(const Result& result, const std::string& why);

}  // namespace flowfs::bench
