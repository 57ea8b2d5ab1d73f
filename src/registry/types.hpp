// SPDX-License-Identifier: BSD-3-Clause
// The registry's vocabulary: identities, states, settings, effects. Plain values.
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.hpp"

namespace flowfs::registry {

enum class NameId : std::uint64_t {};  // a name under names/; never reused
enum class FlowId : std::uint64_t {};  // one END of a flow, as in flows/ID; never reused; 0 is none

inline constexpr FlowId kNoFlow{0};

// Who opened a file, captured at open. The pid is information only.
struct Opener {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
};

// The access mode of the descriptor that created an end.
struct Rights {
  bool receive = false;
  bool send = false;
};

enum class Side : std::uint8_t { client, server };

constexpr Side other(Side side) { return side == Side::client ? Side::server : Side::client; }

// As shown in flows/ID/state.
//   alloc_pending    a client's end: dialled, no server yet
//   accept_pending   a server's end: waiting for a client
//   allocated        both ends are there
//   dealloc_pending  the peer has gone; what it sent can still be read
//   deallocated      this end failed or was closed by `ctl`; only its descriptors remain
enum class FlowState : std::uint8_t {
  alloc_pending,
  accept_pending,
  allocated,
  dealloc_pending,
  deallocated,
};

std::string_view to_string(FlowState state);

enum class Balance : std::uint8_t { fifo, round_robin, least_flows };

std::string_view to_string(Balance balance);

inline constexpr std::uint64_t kUnlimited = UINT64_MAX;  // written `max`

// The attributes of names/NAME, in the units of the files.
struct NameSettings {
  std::uint64_t backlog = 128;                 // dials; kUnlimited allowed
  std::uint64_t dial_timeout_us = 10'000'000;  // 0: refuse at once; kUnlimited allowed
  Balance balance = Balance::fifo;
  std::uint64_t mtu_bytes = 917'504;  // 1 .. fs::Options::longest_message
  std::uint64_t depth_bytes = 1'048'576;
  bool direct = true;  // ends may be mapped; else everything goes through the daemon
  // `qos`: 0 or kUnlimited where nothing is asked for.
  struct Qos {
    std::uint64_t loss_ppm = 0;  // loss: parts per million that may be lost
    bool ordered = true;         // ordered: 0 or 1
    std::uint64_t delay_us = kUnlimited;
    std::uint64_t bandwidth = 0;  // bytes per second wanted
    std::uint64_t timeout_us = kUnlimited;

    friend bool operator==(const Qos&, const Qos&) = default;
  } qos;

  friend bool operator==(const NameSettings&, const NameSettings&) = default;
};

// Whole in one request of 256 pages with up to 16 segments of writev(2), which may each begin and
// end within a page. What the kernel is raised to may be more (fs::Options::longest_message).
inline constexpr std::uint64_t kLongestMessage = 917'504;

// What is counted per uid (threats.md R6). Every charge returns to zero.
enum class Resource : std::uint8_t {
  names,        // names and aliases
  flows,        // flow ends
  bytes,        // message bytes held in the daemon and in segments
  descriptors,  // open files of the tree that hold daemon state, and memfds
  held,         // parked FUSE requests
  buses,
  ports,  // memberships of buses
};
inline constexpr std::size_t kResources = 7;
std::string_view to_string(Resource resource);

// The object and the uid that an event carries, and its detail. The uid is that of who did it; for
// what time did, that of who waited.
enum class EventKind : std::uint8_t {
  name_created,    // names/NAME
  name_removed,    // names/NAME
  name_renamed,    // names/OLD, `to=NEW`; an exchange is one event, `exchanged=OTHER`; aliases too
  alias_created,   // names/ALIAS
  alias_removed,   // names/ALIAS
  flow_waiting,    // names/NAME, `flow=ID`: a server opened `accept` and none was waiting before
  flow_allocated,  // flows/ID of the end that came second, `peer=ID name=NAME`
  flow_refused,    // names/NAME
  flow_timed_out,  // flows/ID, `name=NAME`
  flow_deallocated,  // flows/ID of the end that went last, `peer=ID name=NAME`
  bus_created,       // buses/BUS
  bus_removed,       // buses/BUS
  bus_renamed,       // buses/OLD, as name_renamed
  // In the `events` of the bus only; each with `readers=N writers=N`, as they are then.
  bus_join,      // buses/BUS, `port=N mode=MODE`
  bus_leave,     // buses/BUS, `port=N mode=MODE`, `reason=evicted` where it was cut off
  bus_shutdown,  // buses/BUS, `port=N mode=MODE` that is left to it
  bus_policy,    // buses/BUS, `policy=POLICY`
  // In the `events` of the bus only, without those two.
  bus_link,  // buses/BUS, `port=N name=NAME state=STATE`: of an attached interface
  bus_shut,  // buses/BUS, `port=N reason=loop`
};
std::string_view to_string(EventKind kind);

struct Event {
  std::uint64_t wall_us = 0;  // filled by whoever publishes it
  EventKind kind{};
  std::string object;  // path below the mount: names/log, flows/12
  uid_t uid = 0;
  std::string detail;  // further `key=value` words, may be empty
};

// What the registry wants done outside. Drained by take_effects() after each call.
struct Effect {
  enum class Kind : std::uint8_t {
    established,  // `flow` (a pending end) is allocated now; `peer` is the other end
    failed,       // `flow` (a pending end) became deallocated; `error` says why
    peer_gone,    // `flow` lost its peer (dealloc_pending)
    event,        // `event` is to be published
  };
  Kind kind{};
  FlowId flow = kNoFlow;
  FlowId peer = kNoFlow;
  int error = 0;
  Event event;
};

}  // namespace flowfs::registry
