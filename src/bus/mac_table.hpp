// SPDX-License-Identifier: BSD-3-Clause
// Which port a station was last heard at, for each VLAN.
//
// Shape: a map by address and VLAN; the entries of a port form a list by when they were last heard.
// Threads: one object, one thread.
// Invariants: 1. At most `most` entries, and at most `most_of_port` of one port: a port that shows
// ever more addresses only makes its own oldest ones unknown, and unknown means flooded, not lost.
// 2. Only single stations are entered, never groups. 3. An entry not heard for `age` is unknown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "bus/ethernet.hpp"
#include "bus/policy.hpp"

namespace flowfs::bus {

class MacTable {
 public:
  struct Limits {
    std::size_t most = 8192;
    std::size_t most_of_port = 2048;
    Micros age = std::chrono::seconds(300);
  };

  struct Station {
    MacAddress address{};
    VlanId vlan{};
    PortNumber port{};
    Instant heard;
  };

  enum class Learnt {
    known,  // at this port already
    added,
    moved,  // from another port
    full,   // not entered: the table has no room
  };

  explicit MacTable(Limits limits) : limits_(limits) {}

  Learnt learn(MacAddress address, VlanId vlan, PortNumber port, Instant now);
  [[nodiscard]] std::optional<PortNumber> find(MacAddress address, VlanId vlan, Instant now) const;
  void forget(PortNumber port);
  void forget_all();

  // By VLAN, then by address.
  [[nodiscard]] std::vector<Station> stations(Instant now) const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  // How often a station was heard at another port than before.
  [[nodiscard]] std::uint64_t moves() const { return moves_; }
  void set_age(Micros age) { limits_.age = age; }
  [[nodiscard]] Micros age() const { return limits_.age; }

 private:
  enum class Key : std::uint64_t {};
  struct Spread {  // addresses of one maker differ in few bits
    std::size_t operator()(Key key) const {
      const std::uint64_t mixed = static_cast<std::uint64_t>(key) * 0x9e3779b97f4a7c15U;
      return static_cast<std::size_t>(mixed ^ mixed >> 32);
    }
  };
  using Heard = std::list<Key>;  // the oldest first
  struct Entry {
    PortNumber port{};
    Instant heard;
    Heard::iterator place;
  };
  using Entries = std::unordered_map<Key, Entry, Spread>;

  static Key key_of(MacAddress address, VlanId vlan);
  [[nodiscard]] bool aged(const Entry& entry, Instant now) const;
  bool make_room(PortNumber port, Instant now);
  void erase(Entries::iterator entry);

  Limits limits_;
  Entries entries_;
  std::unordered_map<PortNumber, Heard> ports_;
  Instant swept_{};
  std::uint64_t moves_ = 0;
};

}  // namespace flowfs::bus
