// SPDX-License-Identifier: BSD-3-Clause
// Names, the ends of flows, and how the two kinds of end find each other. Pure state: no I/O, no
// clock of its own, no FUSE. Driven by src/fs and, with a seed, by tests/sim.
//
// Threads: one.
// Errors: Result with the errno that filesystem.md gives to the caller; a call that fails changes
// nothing but counters.
// Effects: a call may queue effects (a pending open is now up, an end lost its peer, an event to
// publish); the caller drains them with take_effects() before it returns to its loop. An end's own
// result is returned directly, effects tell of *other* ends.
// Invariants (check_invariants() tests them all):
//   1. Two allocated ends are each other's peer, one client and one server of the same name.
//   2. A name never has both a waiting server and an admitted waiting client.
//   3. An end in alloc_pending is in exactly one of its name's backlog and overflow; an end in
//      accept_pending is in exactly its name's acceptors; no other end is in any.
//   4. The backlog holds at most `settings.backlog` ends (as set when each was admitted), and no
//   end
//      stays in the overflow that could have a place in the backlog.
//   5. next_deadline() is the earliest deadline of a waiting client.
//   6. Every charge in Users is explained by a name, an alias or an end that exists.
//   7. Names and aliases share one namespace; ids are never reused.
//   8. Of every name, flows_now is the flow_allocated events less the flow_deallocated ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "registry/types.hpp"
#include "registry/users.hpp"
#include "registry/waiting_clients.hpp"
#include "registry/waiting_servers.hpp"

namespace flowfs::registry {

struct NameStats {
  std::uint64_t flows_now = 0;  // flows (pairs) with at least one end allocated or dealloc_pending
  std::uint64_t flows_ever = 0;
  std::uint64_t refused = 0;
  std::uint64_t timed_out = 0;
  // Bytes and messages are added by the data path (src/fs): from the client and to the client.
  std::uint64_t bytes_from_client = 0;
  std::uint64_t bytes_to_client = 0;
  std::uint64_t messages_from_client = 0;
  std::uint64_t messages_to_client = 0;
};

// What others may read of a name. Pointers stay valid until the name is removed.
struct Name {
  NameId id{};
  std::string name;
  uid_t owner = 0;  // made it, or whom the configuration names; chown changes nothing here
  NameSettings settings;
  NameStats stats;
};

struct Alias {
  NameId id{};
  std::string name;
  std::string target;
  uid_t owner = 0;
};

// One end of a flow.
struct End {
  FlowId id{};
  NameId name{};
  Side side{};
  FlowState state{};
  Opener opener;
  Rights rights;
  FlowId peer = kNoFlow;      // also kept in dealloc_pending, although that end is gone
  int error = 0;              // why it is deallocated
  Instant deadline = kNever;  // alloc_pending: when it times out
};

class Registry {
 public:
  explicit Registry(Users& users) : users_(users) {}
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // --- names ---------------------------------------------------------------------------------
  // Letters, digits, `. _ : @ -`, at most 255, not starting with `.`.
  static bool valid_name(std::string_view name);

  // EINVAL bad characters; ENAMETOOLONG; EEXIST; EDQUOT; ENFILE.
  Result<NameId> create_name(std::string_view name, Opener who, const NameSettings& settings = {});
  // A name of the configuration: `owner` owns it, and root is charged. Errors as create_name.
  Result<NameId> declare_name(std::string_view name, uid_t owner, const NameSettings& settings);
  // `target` is any symlink text of 1 to 4095 bytes. Errors as create_name.
  Result<NameId> create_alias(std::string_view name, std::string_view target, Opener who);
  // ENOENT; ENOTDIR for an alias; EBUSY while a server waits or a flow of the name is alive.
  // Clients that wait fail with ENOENT.
  Status remove_name(std::string_view name, uid_t by);
  // ENOENT; EISDIR for a name.
  Status remove_alias(std::string_view name, uid_t by);
  // Both kinds. EINVAL, ENOENT (from); EEXIST where `to` exists, but for an alias over an alias
  // unless `no_replace`; renaming onto itself is ok and does nothing.
  Status rename(std::string_view from, std::string_view to, bool no_replace, uid_t by);
  // ENOENT where either is missing. Both kinds may be exchanged with each other.
  Status exchange(std::string_view one, std::string_view two, uid_t by);

  [[nodiscard]] const Name* find_name(std::string_view name) const;
  [[nodiscard]] const Name* find_name(NameId id) const;
  [[nodiscard]] const Alias* find_alias(std::string_view name) const;
  [[nodiscard]] const Alias* find_alias(NameId id) const;
  // All names and aliases, by name: for readdir.
  struct Entry {
    std::string_view name;
    NameId id;
    bool is_alias;
  };
  [[nodiscard]] std::vector<Entry> list() const;
  // The name or alias with the smallest id that is `first` or greater: for listing in parts.
  [[nodiscard]] std::optional<Entry> entry_from(NameId first) const;

  // Settings are checked where they are parsed; here they take effect. A larger backlog admits
  // waiting clients; a new dial_timeout holds for later dials, as do mtu, depth and qos for later
  // flows.
  void set_settings(NameId id, const NameSettings& settings);
  // For the data path. A name lives as long as a flow of it does: ask while the end is allocated or
  // dealloc_pending. An unknown id is a broken invariant (CHECK), here and in set_settings().
  NameStats& stats(NameId id);

  // Who waits at a name now; zeroes where there is no such name.
  struct Waiting {
    std::size_t servers = 0;
    std::size_t backlog = 0;
    std::size_t overflow = 0;  // blocking dials that found no place in the backlog
  };
  [[nodiscard]] Waiting waiting(NameId id) const;

  // --- ends ----------------------------------------------------------------------------------
  // Opening `accept`. The end is allocated at once where a client waits, else accept_pending.
  // ENOENT; EDQUOT; ENFILE.
  Result<FlowId> open_accept(NameId name, Opener who, Rights rights, Instant now);
  // Opening `dial`. Allocated at once where a server waits, else alloc_pending.
  // ENOENT; EDQUOT; ENFILE; ECONNREFUSED (dial_timeout 0 and no server waits);
  // EAGAIN (`nonblock` and no place in the backlog for this uid). Checked in this order.
  Result<FlowId> open_dial(NameId name, Opener who, Rights rights, bool nonblock, Instant now);
  // The descriptor that made the end is closed, or a pending open was interrupted. The end is gone
  // afterwards; its peer gets peer_gone. Unknown ids are ignored (idempotent).
  void release(FlowId flow);
  // `ctl close`: the end becomes deallocated with `error`; its peer gets peer_gone; the id lives
  // until release(). Unknown and already deallocated ends are left alone.
  void close(FlowId flow, int error);

  [[nodiscard]] const End* find_end(FlowId flow) const;
  [[nodiscard]] std::vector<FlowId> ends() const;  // ascending
  // The end with the smallest id that is `first` or greater.
  [[nodiscard]] std::optional<FlowId> end_from(FlowId first) const;
  [[nodiscard]] std::size_t end_count() const;

  // --- time and effects ----------------------------------------------------------------------
  // Fails with ETIMEDOUT every waiting client whose deadline is at or before `now`.
  void tick(Instant now);
  [[nodiscard]] Instant next_deadline() const;
  [[nodiscard]] std::vector<Effect> take_effects();
  [[nodiscard]] bool has_effects() const;

  // Empty, or the first invariant found broken, in words. For tests and the simulator.
  [[nodiscard]] std::string check_invariants() const;

 private:
  struct NameRecord {
    Name name;
    WaitingServers servers;
    WaitingClients clients;
    Charge charge;
  };
  struct AliasRecord {
    Alias alias;
    Charge charge;
  };
  struct EndRecord {
    End end;
    Charge charge;
  };

  // names.cpp
  Result<NameId> add_name(std::string_view name, uid_t owner, uid_t payer,
                          const NameSettings& settings);
  void set_text(NameId id, std::string_view text);

  // ends.cpp
  NameRecord& record_of(NameId id);
  EndRecord& add_end(NameId name, Side side, FlowState state, Opener who, Rights rights,
                     Charge charge);
  void establish(NameRecord& name, End& actor, End& waiting);
  void leave(End& end);
  void stop_waiting(End& client);
  void fail_waiting(End& client, int error);
  void end_flow(NameRecord& name, const End& last);

  // registry.cpp
  void publish(EventKind kind, std::string object, uid_t uid, std::string detail = {});

  // invariants.cpp
  [[nodiscard]] std::string check_namespace() const;
  [[nodiscard]] std::string check_name(const NameRecord& record) const;
  [[nodiscard]] std::string check_end(const End& end) const;
  [[nodiscard]] std::string check_waiting(const End& end) const;
  [[nodiscard]] std::string check_counts() const;
  [[nodiscard]] std::string check_charges() const;

  Users& users_;
  std::map<std::string, NameId, std::less<>> index_;  // names and aliases
  std::map<NameId, NameRecord> names_;
  std::map<NameId, AliasRecord> aliases_;
  std::map<FlowId, EndRecord> ends_;
  std::set<std::pair<Instant, FlowId>> deadlines_;  // of waiting clients; kNever is not kept
  std::vector<Effect> effects_;
  std::uint64_t next_name_ = 1;
  std::uint64_t next_flow_ = 1;
};

}  // namespace flowfs::registry
