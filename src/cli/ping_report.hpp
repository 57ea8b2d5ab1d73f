// SPDX-License-Identifier: BSD-3-Clause
// What `flowctl ping` counts and says. Pure: bytes and nanoseconds in, text and JSON out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cli/histogram.hpp"
#include "cli/payload.hpp"

namespace flowfs::cli {

// One answer.
struct Reply {
  std::uint64_t sequence = 0;
  std::uint64_t time_ns = 0;
  std::size_t bytes = 0;
  bool late = false;     // it came after its wait was over
  bool altered = false;  // not what was sent: the other end is no echo server
};

// Matches answers to what was sent. A flow keeps order and loses nothing, so the next answer
// belongs to the oldest message not yet answered.
class PingSession {
 public:
  explicit PingSession(std::size_t size_bytes) : size_bytes_(size_bytes) {}

  // Messages are numbered from 1.
  [[nodiscard]] std::uint64_t next_sequence() const { return transmitted_ + 1; }
  void sent(std::uint64_t now_ns);
  // nullopt: nothing was asked, the answer is counted as stray.
  std::optional<Reply> received(std::span<const std::byte> answer, std::uint64_t now_ns);
  // The wait for the newest message is over.
  void gave_up();
  [[nodiscard]] bool awaiting() const { return newest_waits_; }

  [[nodiscard]] std::uint64_t transmitted() const { return transmitted_; }
  [[nodiscard]] std::uint64_t answered() const { return times_.count(); }

  [[nodiscard]] std::string summary(std::string_view name, std::uint64_t elapsed_ns) const;
  [[nodiscard]] nlohmann::ordered_json summary_json(std::string_view name,
                                                    std::uint64_t elapsed_ns) const;

 private:
  struct Sent {
    std::uint64_t sequence;
    std::uint64_t time_ns;
  };

  std::size_t size_bytes_;
  std::deque<Sent> waiting_;  // oldest first
  Histogram times_;           // ns
  std::uint64_t transmitted_ = 0;
  std::uint64_t late_ = 0;
  std::uint64_t altered_ = 0;
  std::uint64_t stray_ = 0;
  bool newest_waits_ = false;
};

// "64 bytes from log: seq=3 time=41.2 us (late)".
std::string readable(std::string_view name, const Reply& reply);
nlohmann::ordered_json as_json(const Reply& reply);

}  // namespace flowfs::cli
