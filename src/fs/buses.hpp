// SPDX-License-Identifier: BSD-3-Clause
// Buses in the tree: joins the registry's bus, its messages, its event stream and its account.
//
// Threads: the loop's.
// Invariants:
//   1. There is a LiveBus for every bus of the registry, and the reverse; a port of the registry is
//      a member of its bus's data, and the reverse.
//   2. What a log holds is charged to the payer of its bus: a bus may cost its owner its depth,
//      whoever sends.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "bus/bus.hpp"
#include "bus/ethernet_bus.hpp"
#include "fs/bus_log.hpp"
#include "fs/event_log.hpp"
#include "fs/file_table.hpp"
#include "fs/parking.hpp"
#include "fs/pcap_file.hpp"
#include "registry/buses.hpp"

namespace flowfs::fs {

class BusFile;
class Buses;
class DirectBus;
class MappedMember;

// A bus while it exists.
struct LiveBus {
  LiveBus(Buses& owner, Loop& loop, registry::BusId bus_id, bus::Limits limits);
  ~LiveBus();
  LiveBus(const LiveBus&) = delete;
  LiveBus& operator=(const LiveBus&) = delete;

  // Before its counts are looked at: what mapped members have sent and read.
  void refresh();
  // The log that they read now; null where there is none.
  [[nodiscard]] LogFile* present_log() const;

  // Of a bus's own `events`: it is often joined and left, and many buses keep as much.
  static constexpr std::size_t kKeptEvents = 128;

  registry::BusId id;
  bus::Bus data;
  std::unique_ptr<bus::EthernetBus> ethernet;          // where that is its policy
  std::unordered_map<bus::PortId, std::string> names;  // of ports that have one
  std::string vde;                                     // where VDE clients plug in; empty: nowhere
  std::unordered_map<bus::PortId, BusFile*> files;     // of ports that are files
  std::unordered_map<bus::PortId, MappedMember*> mapped;  // of those that are mapped now
  std::unique_ptr<BusLog> log;                            // while one of them receives, or
  std::unique_ptr<DirectBus> direct;                      // while its only sender writes that
  std::unique_ptr<LogFile> former;   // the log before, until they all have gone over
  std::uint64_t log_generation = 0;  // of the last one
  unsigned batches = 0;              // Buses::Batch
  Instant batch_began{};
  Captures captures;
  EventLog events{kKeptEvents};
  std::uint64_t charged_bytes = 0;
  Loop::Timer timer;  // of who blocks it
};

class Buses {
 public:
  Buses(Loop& loop, registry::Users& users, Parking& parking, FileTable& files, EventLog& events,
        Replies& replies);

  // Errors: those of the registry.
  Result<registry::BusId> create(std::string_view name, registry::Opener who,
                                 const registry::BusSettings& settings);
  Result<registry::BusId> declare(std::string_view name, uid_t owner,
                                  const registry::BusSettings& settings);
  Status remove(std::string_view name, uid_t by);
  Status rename(std::string_view from, std::string_view to, uid_t by);
  Status exchange(std::string_view one, std::string_view two, uid_t by);
  Status set_settings(registry::BusId id, const registry::BusSettings& settings, uid_t by);

  // Opens buses/BUS/bus: answers.
  void open_bus(Request request, Node node, int flags, registry::BusId id);
  // Opens buses/BUS/events.
  void open_events(Request request, Node node, int flags, registry::BusId id);
  // Opens buses/BUS/pcap.
  void open_pcap(Request request, Node node, int flags, registry::BusId id);

  // A member that is no open file (a TAP, a VDE client) joins the same way: `member` outlives its
  // membership. Errors: those of registry::Buses::join.
  Result<bus::PortId> join(registry::BusId id, bus::Member& member, registry::Opener who,
                           registry::Rights rights,
                           bus::EthernetBus::Frames frames = bus::EthernetBus::Frames::plain);
  void leave(bus::PortId port);
  // The port gives up these rights; without any left it has left. A mapped member that has sent
  // what there is no room for yet does so when there was. Errors: ENOTCONN it has left before;
  // EOPNOTSUPP it is no open file.
  Status shut_down(bus::PortId port, registry::Rights rights);
  // What a write is sure to bring whole: a longer one may be the first part of one that the kernel
  // has split, whatever the mtu of the bus.
  void set_longest_write(std::size_t bytes) { longest_write_ = bytes; }
  [[nodiscard]] std::size_t longest_write() const { return longest_write_; }
  // The errno, 0 or EAGAIN among them; what it costs to keep the message is charged.
  int send(LiveBus& live, bus::PortId from, std::span<const std::byte> message);
  // A copy of what `from` has laid into a log of its own, for those who do not read that.
  void copy(LiveBus& live, bus::PortId from, std::span<const std::byte> message,
            bus::SharedLog::Extent extent);
  // The same for a write that has waited, and was charged for that.
  int send_parked(LiveBus& live, bus::PortId from, Parked& parked);
  // After any call on the data of a bus: its account, its timer, and what mapped members see.
  void settle(LiveBus& live);
  // While one lives, mapped members are not woken for each message, and it is the same moment.
  class Batch {
   public:
    Batch(Buses& buses, LiveBus& live) : buses_(buses), live_(live) {
      if (live_.batches++ == 0) {
        live_.batch_began = Clock::now();
      }
    }
    ~Batch() {
      --live_.batches;
      buses_.settle(live_);
    }
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

   private:
    Buses& buses_;
    LiveBus& live_;
  };
  // An attached interface has another state.
  void publish_link(LiveBus& live, bus::PortId port, uid_t uid, std::string_view name,
                    std::string_view state);
  // `port` was cut off by its bus.
  void on_cut_off(bus::PortId port);
  // Does that to it.
  void cut_off(bus::PortId port);

  [[nodiscard]] const registry::Buses& registry() const { return registry_; }
  // Null where there is no such bus.
  [[nodiscard]] LiveBus* find(registry::BusId id) const;

  // Runs when a bus may have become an Ethernet, or has ceased to be one, or to exist.
  std::function<void(registry::BusId)> on_kind;
  // Runs when a port is about to leave of its own accord.
  std::function<void(bus::PortId)> before_leave;
  // Runs when a port is about to give up rights, perhaps the last. Which of them it can give up
  // now.
  std::function<registry::Rights(bus::PortId, registry::Rights)> before_shut_down;
  // Runs when it has given up rights and kept another.
  std::function<void(bus::PortId)> on_shut_down;
  // Runs when a port has gone.
  std::function<void(bus::PortId)> on_port_gone;

 private:
  friend struct LiveBus;
  Result<registry::BusId> made(Result<registry::BusId> id);
  static void set_policy(LiveBus& live, const registry::BusSettings& settings);
  bus::SendOutcome pass_on(LiveBus& live, bus::PortId from, std::span<const std::byte> message);
  void charge(LiveBus& live);
  void publish_here(LiveBus& live, registry::EventKind kind, uid_t uid, std::string detail);
  void forget_port(const registry::Port& port);
  void publish();

  Loop& loop_;
  registry::Users& users_;
  Parking& parking_;
  FileTable& files_;
  EventLog& events_;
  Replies& replies_;
  registry::Buses registry_;
  std::size_t longest_write_ = registry::kLongestMessage;
  std::unordered_map<registry::BusId, std::unique_ptr<LiveBus>> live_;
};

}  // namespace flowfs::fs
