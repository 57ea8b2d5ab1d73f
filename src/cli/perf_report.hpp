// SPDX-License-Identifier: BSD-3-Clause
// What `flowctl perf` found out, and how it says so. Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "cli/histogram.hpp"
#include "cli/key_value.hpp"

namespace flowfs::cli {

enum class PerfShape : std::uint8_t {
  round_trip,  // every message comes back: the peer echoes
  send,        // one way, the peer is a sink
  receive,     // one way, the peer is a source
};

struct PerfResult {
  std::string name;
  PerfShape shape = PerfShape::round_trip;
  std::uint64_t size_bytes = 0;
  double rate = 0;  // messages a second asked for; 0: as many as go
  bool mapped = false;
  std::string_view waiting;  // how a mapped end waits: adaptive, spin, sleep

  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::uint64_t lost = 0;
  std::uint64_t disordered = 0;
  std::uint64_t altered = 0;  // of another length
  std::uint64_t elapsed_ns = 0;
  // ns. Round trips; with a rate, from when a message was due. One way without a rate: none.
  Histogram times;
  // A message; nullopt where the daemon counts none.
  std::optional<double> copies_sent;
  std::optional<double> copies_received;

  [[nodiscard]] std::uint64_t messages() const {
    return shape == PerfShape::send ? sent : received;
  }
  [[nodiscard]] bool good() const { return lost == 0 && disordered == 0 && altered == 0; }
};

// Copies a message of the sender whose `stats` file was read before and after so many of its
// messages; nullopt where there were none, or it could not be read. The messages are what this
// program counted: the daemon does not see those of mapped ends.
std::optional<double> copies_per_message(const KeyValues& before, const KeyValues& after,
                                         std::uint64_t messages);

std::string readable(const PerfResult& result);
nlohmann::ordered_json as_json(const PerfResult& result);

// "  3 s  1234567 messages  411522/s", for a line that is written again and again.
std::string progress(std::uint64_t seconds, std::uint64_t messages, std::uint64_t messages_before);

}  // namespace flowfs::cli
