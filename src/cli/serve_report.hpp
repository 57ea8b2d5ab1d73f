// SPDX-License-Identifier: BSD-3-Clause
// What a server says of the flows that come and go, and what it has counted of them.
//
// Threads: one, the one that reports.
#pragma once

#include <cstdint>

#include "base/clock.hpp"
#include "cli/commands.hpp"
#include "cli/payload.hpp"

namespace flowfs::cli {

struct Traffic {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  SequenceCheck order;  // of a sink that checks it
};

class ServeReport {
 public:
  ServeReport(const Common& common, const ServeOptions& options)
      : common_(common), options_(options) {}

  // Clients are waited for.
  void serving() const;
  void up(std::uint64_t flow) const;
  // `error`: what broke it, or 0.
  void end(std::uint64_t flow, const Traffic& traffic, int error);
  void summary() const;

  [[nodiscard]] std::uint64_t ended() const { return ended_; }
  [[nodiscard]] bool all_in_order() const { return in_order_; }

 private:
  const Common& common_;
  const ServeOptions& options_;
  Instant begin_ = Clock::now();
  std::uint64_t ended_ = 0;
  std::uint64_t messages_ = 0;
  std::uint64_t bytes_ = 0;
  bool in_order_ = true;
};

}  // namespace flowfs::cli
