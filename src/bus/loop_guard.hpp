// SPDX-License-Identifier: BSD-3-Clause
// Notices that frames come back: that two ports of a bus lead to the same other bus.
//
// A flooded frame that leaves through one of two such ports returns through the other, and so on
// without end. So a frame that within `kWindow` came to each of two ports `kReturns` times, and
// each time after it had been at another, runs in a loop. A station that moves is seen at two ports
// too, but never again and again with the same frame; and whoever repeats what another port sent is
// seen at his own port only, so that he cannot have that other port shut.
// Threads: one object, one thread.
// Invariants: 1. The size never changes. 2. Two frames that share a place in the table, or even a
// digest, may hide a loop for a moment; the next frame that runs in it shows it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/clock.hpp"
#include "bus/policy.hpp"

namespace flowfs::bus {

class LoopGuard {
 public:
  static constexpr unsigned kReturns = 4;
  static constexpr Micros kWindow = std::chrono::seconds(1);

  // `frame` came to `port`. The other port of the loop that it runs in, where it does.
  std::optional<PortNumber> seen(std::span<const std::byte> frame, PortNumber port, Instant now);

 private:
  static constexpr std::size_t kPlaces = 1024;
  static constexpr std::size_t kPorts = 4;  // more of a loop are found when these are shut

  struct Visits {
    PortNumber port{};
    unsigned count = 0;  // 0: not in use, as all that follow
  };

  struct Place {
    std::uint64_t digest = 0;
    Instant since{};
    PortNumber last{};
    std::array<Visits, kPorts> visits{};
  };

  static std::optional<PortNumber> visit(Place& place, PortNumber port);

  std::array<Place, kPlaces> places_{};
};

}  // namespace flowfs::bus
