// SPDX-License-Identifier: BSD-3-Clause
// Buses, and who is a member of which: names, settings, ports and their limits. Pure state, as
// registry.hpp; the messages are in src/bus.
//
// Threads: one.
// Errors: Result with the errno that filesystem.md gives to the caller; a call that fails changes
// nothing.
// Effects: calls leave events, which the caller takes with take_events() before it returns to its
// loop.
// Invariants (check_invariants() tests them all):
//   1. Every bus has one name, and every name in the index a bus; ids are never reused.
//   2. A port belongs to the bus that lists it, under a number that no other port of it has.
//   3. readers and writers of a bus are its ports that receive, and that send.
//   4. Every charge in Users is explained by a bus or a port that exists.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/result.hpp"
#include "bus/member.hpp"
#include "bus/policy.hpp"
#include "registry/types.hpp"
#include "registry/users.hpp"

namespace flowfs::registry {

enum class BusId : std::uint64_t {};  // a bus under buses/; never reused
using bus::PortId;
using bus::PortNumber;

enum class BusPolicy : std::uint8_t { broadcast, ethernet_switch, ethernet_hub };
std::string_view to_string(BusPolicy policy);

enum class Delivery : std::uint8_t { lossy, lossless };
std::string_view to_string(Delivery delivery);

inline constexpr std::uint64_t kMostPorts = 65'536;  // of a bus
inline constexpr std::uint64_t kMostHistory = 1'000'000;

// The attributes of buses/BUS, in the units of the files.
struct BusSettings {
  BusPolicy policy = BusPolicy::broadcast;
  Delivery delivery = Delivery::lossy;
  std::uint64_t mtu_bytes = 917'504;
  std::uint64_t depth_bytes = 1'048'576;
  std::uint64_t history = 0;           // messages
  std::uint64_t writers = kUnlimited;  // members that may send
  std::uint64_t ports = 256;           // members
  std::uint64_t evict_us = kUnlimited;

  friend bool operator==(const BusSettings&, const BusSettings&) = default;
};

// What others may read of a bus. Pointers stay valid until the bus is removed.
struct BusInfo {
  BusId id{};
  std::string name;
  uid_t owner = 0;  // made it, or whom the configuration names; chown changes nothing here
  uid_t payer = 0;  // who is charged for it and for its log: root for one of the configuration
  BusSettings settings;
  std::map<PortNumber, PortId> ports;
  std::uint64_t readers = 0;
  std::uint64_t writers = 0;
};

// A member of a bus.
struct Port {
  PortId id{};
  BusId bus{};
  PortNumber number{};  // the smallest that was free when it joined; from 1
  Opener opener;
  Rights rights;
  Instant since{};
};

class Buses {
 public:
  explicit Buses(Users& users) : users_(users) {}
  Buses(const Buses&) = delete;
  Buses& operator=(const Buses&) = delete;

  // EINVAL bad characters; ENAMETOOLONG; EEXIST; EDQUOT; ENFILE.
  Result<BusId> create(std::string_view name, Opener who, const BusSettings& settings = {});
  // A bus of the configuration: `owner` owns it, and root is charged. Errors as create.
  Result<BusId> declare(std::string_view name, uid_t owner, const BusSettings& settings);
  // ENOENT; EBUSY while it has members.
  Status remove(std::string_view name, uid_t by);
  // EINVAL, ENAMETOOLONG, ENOENT (from), EEXIST (to); onto itself is ok and does nothing.
  Status rename(std::string_view from, std::string_view to, uid_t by);
  // ENOENT where either is missing.
  Status exchange(std::string_view one, std::string_view two, uid_t by);
  // EBUSY: fewer ports or writers than there are now, or another policy while there are members.
  Status set_settings(BusId id, const BusSettings& settings, uid_t by);

  [[nodiscard]] const BusInfo* find(std::string_view name) const;
  [[nodiscard]] const BusInfo* find(BusId id) const;
  // The bus with the smallest id that is `first` or greater.
  [[nodiscard]] const BusInfo* bus_from(BusId first) const;

  // Opening `bus`. EADDRNOTAVAIL no port is free, or none for this uid, which may have a share that
  // shrinks with the uids that are there; EBUSY it would send, and there are `writers` that do;
  // EDQUOT; ENFILE.
  Result<PortId> join(BusId id, Opener who, Rights rights, Instant now);
  // Unknown ids are ignored. `evicted`: not by its own doing.
  void leave(PortId id, bool evicted = false);
  // The port, which exists, gives up these rights, and keeps another.
  void shut_down(PortId id, Rights rights);
  [[nodiscard]] const Port* find_port(PortId id) const;

  // `everywhere`: for the `events` of the whole tree; else for those of the bus alone.
  struct BusEvent {
    BusId bus{};
    bool everywhere = false;
    Event event;
  };
  [[nodiscard]] std::vector<BusEvent> take_events();
  [[nodiscard]] std::string check_invariants() const;

 private:
  struct Record {
    BusInfo info;
    SharedAllowance places;  // of its ports
    Charge charge;
  };
  struct PortRecord {
    Port port;
    Charge charge;
  };

  Result<BusId> add(std::string_view name, uid_t owner, uid_t payer, const BusSettings& settings);
  void publish(const BusInfo& bus, EventKind kind, bool everywhere, uid_t uid, std::string detail);
  void publish_change(const BusInfo& bus, EventKind kind, uid_t uid, std::string detail,
                      std::string_view more = "");

  Users& users_;
  std::map<std::string, BusId, std::less<>> index_;
  std::map<BusId, Record> buses_;
  std::map<PortId, PortRecord> ports_;
  std::vector<BusEvent> events_;
  std::uint64_t next_bus_ = 1;
  std::uint64_t next_port_ = 1;
};

}  // namespace flowfs::registry
