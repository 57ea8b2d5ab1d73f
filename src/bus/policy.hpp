// SPDX-License-Identifier: BSD-3-Clause
// What a bus asks of its delivery policy: who gets this frame, and how.
//
// Shape: frames in, decisions out. A policy has no I/O and no clock, and keeps nothing of a frame.
// Threads: an object belongs to one thread, its bus's.
// Invariants: 1. A decision never names the port the frame came from, nor a port that has not
// joined, nor one twice. 2. A decision without deliveries says why. 3. Deciding allocates only
// while a Decision, or the policy, is larger than it ever was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.hpp"

namespace flowfs::bus {

enum class PortNumber : std::uint32_t {};

// Why nobody gets a frame.
enum class Drop : std::uint8_t {
  none,        // it is delivered
  runt,        // shorter than its header
  oversize,    // longer than the bus takes
  bad_source,  // a group address as the source
  wrong_vlan,  // of a VLAN that the port is not in
  same_port,   // its destination is behind the port that it came from
  nobody,      // no other port is there, or none in its VLAN
  looped,      // the port is shut, as it closes a loop
  malformed,   // what an interface says about it does not fit it
};
inline constexpr std::size_t kDrops = 9;

// "runt", "wrong-vlan": as `stats` and `metrics` show them.
const char* to_string(Drop drop);

// How one port gets a frame. A tag is the four bytes of 802.1Q after the two addresses.
struct Edit {
  enum class Kind : std::uint8_t { as_is, tag_added, tag_removed, tag_replaced };

  Kind kind = Kind::as_is;
  std::uint16_t tci = 0;  // of the tag added, or the one that replaces it

  bool operator==(const Edit&) const = default;
};

struct Delivery {
  PortNumber port{};
  Edit edit;

  bool operator==(const Delivery&) const = default;
};

// The answer for one frame. Its owner keeps it and passes it again.
class Decision {
 public:
  void clear() {
    deliveries_.clear();
    drop_ = Drop::none;
    shut_.reset();
  }
  void deliver(PortNumber port, Edit edit = {}) { deliveries_.push_back({port, edit}); }
  void refuse(Drop why) { drop_ = why; }
  void shut(PortNumber port) { shut_ = port; }

  [[nodiscard]] std::span<const Delivery> deliveries() const { return deliveries_; }
  [[nodiscard]] Drop drop() const { return drop_; }
  // The port that this frame showed to close a loop, and which takes and gets nothing any more
  // until it leaves.
  [[nodiscard]] std::optional<PortNumber> newly_shut() const { return shut_; }

 private:
  std::vector<Delivery> deliveries_;
  Drop drop_ = Drop::none;
  std::optional<PortNumber> shut_;
};

class Policy {
 public:
  Policy() = default;
  virtual ~Policy() = default;
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  // A port that has joined already, or has not, changes nothing.
  virtual void join(PortNumber port) = 0;
  virtual void leave(PortNumber port) = 0;

  // Who gets `frame`, which came from `from`. `out` is cleared first.
  virtual void decide(PortNumber from, std::span<const std::byte> frame, Instant now,
                      Decision& out) = 0;
};

}  // namespace flowfs::bus
