// SPDX-License-Identifier: BSD-3-Clause
// Messages of some processes to all of some others, measured in the same manner whatever carries
// them: a bus, a ring, sockets, a switch.
//
// Every message is an Ethernet frame to all stations, so that a switch can carry it too, and says
// who sent it and its number.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/clock.hpp"

namespace flowfs::bench {

// One of the processes. A failure ends the program: there is nothing to measure then.
class Part {
 public:
  Part() = default;
  virtual ~Part() = default;
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  // Waits for room where there is none.
  virtual void send(std::span<const std::byte> message) = 0;
  // A message of this length; any other is a failure. False: none has come for so long.
  virtual bool receive(std::span<std::byte> message, Micros patience) = 0;
};

// Senders and readers are numbered from 0, each.
struct Role {
  bool sends = false;
  std::size_t number = 0;
};
struct GroupSize {
  std::size_t senders = 0;
  std::size_t readers = 0;
};
inline constexpr std::size_t kMostParts = 64;  // of either

// Called once in each process. What is sent afterwards must reach each reader.
using OpenPart = std::function<std::unique_ptr<Part>(Role)>;

struct Group {
  std::string name;
  // What all of them inherit; called before the first fork, afresh for every measurement.
  std::function<OpenPart(const GroupSize&)> prepare;
  std::size_t speed = 1;     // so many times the messages of the slow ones, for a run long enough
  bool may_lose = false;     // otherwise a lost message is a failure
  std::string missing = "";  // why there is none, where there is none
};

struct Traffic {
  std::uint64_t sent = 0;       // by all senders
  std::uint64_t delivered = 0;  // to all readers, of as many times what was sent
  std::uint64_t lost = 0;       // in the warm-up, too
  double seconds = 0;           // until the last message was read
  double senders_processor_s = 0;
  double other_processor_s = 0;  // of the process `other`
};

// Each sender sends `count` messages of `bytes`, at least 32, after a warm-up with a tenth of that.
// `other`: a process whose processor time is wanted too, such as the daemon.
Traffic run(const Group& group, const GroupSize& size, std::size_t bytes, std::size_t count,
            std::optional<pid_t> other = std::nullopt);

}  // namespace flowfs::bench
