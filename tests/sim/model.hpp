// SPDX-License-Identifier: BSD-3-Clause
// What the registry must do, said as simply as possible: plain lists, searched from end to end,
// nothing kept that can be counted. It shares the registry's vocabulary (types.hpp, the value types
// of registry.hpp) and none of its code.
//
// Each operation is called after the registry's, with the id that the registry gave where it
// succeeded, and returns the errno that it should have given (0: success). Effects are texts.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "registry/buses.hpp"
#include "registry/registry.hpp"

namespace flowfs::registry::sim {

// How effects are written down, of the registry and of the model alike.
std::string text_of(const Effect& effect);
std::string text_of(const Buses::BusEvent& event);

class Model {
 public:
  struct WaitingPlace {
    bool admitted = false;
    std::uint64_t ticket = 0;  // order of admission
  };
  struct NameModel {
    Name name;
    std::map<std::pair<uid_t, pid_t>, std::uint64_t> last_served;
  };
  struct EndModel {
    End end;
    WaitingPlace place;  // of a waiting client
  };

  struct BusModel {
    BusId id{};
    std::string name;
    uid_t owner = 0;
    uid_t payer = 0;
    BusSettings settings;
  };

  explicit Model(Users::Config config) : config_(config) {}

  int create_name(std::string_view text, Opener who, const NameSettings& settings, NameId id);
  int create_alias(std::string_view text, std::string_view target, Opener who, NameId id);
  int remove_name(std::string_view text, uid_t by);
  int remove_alias(std::string_view text, uid_t by);
  int rename(std::string_view from, std::string_view to, bool no_replace, uid_t by);
  int exchange(std::string_view one, std::string_view two, uid_t by);
  void set_settings(NameId id, const NameSettings& settings);
  void set_limit(uid_t uid, Resource resource, std::uint64_t limit);
  void reconfigure(Users::Config config) { config_ = config; }

  int open_accept(NameId id, Opener who, Rights rights, FlowId flow);
  int open_dial(NameId id, Opener who, Rights rights, bool nonblock, Instant now, FlowId flow);
  void release(FlowId flow);
  void close(FlowId flow, int error);
  void tick(Instant now);

  int create_bus(std::string_view text, uid_t owner, uid_t payer, const BusSettings& settings,
                 BusId id);
  int remove_bus(std::string_view text, uid_t by);
  int rename_bus(std::string_view from, std::string_view to, uid_t by);
  int exchange_buses(std::string_view one, std::string_view two, uid_t by);
  int set_bus(BusId id, const BusSettings& settings, uid_t by);
  int join(BusId id, Opener who, Rights rights, PortId port_id);
  void leave_bus(PortId id, bool evicted);
  void shut_down(PortId id, Rights rights);

  [[nodiscard]] Instant next_deadline() const;
  [[nodiscard]] std::uint64_t used(uid_t uid, Resource resource) const;
  [[nodiscard]] std::uint64_t total(Resource resource) const;
  // Empty, or how the registry differs.
  [[nodiscard]] std::string compare(const Registry& registry) const;
  [[nodiscard]] std::string compare(const Buses& registry) const;
  std::vector<std::string> take_effects() { return std::exchange(effects_, {}); }
  std::vector<std::string> take_bus_events() { return std::exchange(bus_events_, {}); }

  [[nodiscard]] const std::vector<NameModel>& names() const { return names_; }
  [[nodiscard]] const std::vector<Alias>& aliases() const { return aliases_; }
  [[nodiscard]] const std::vector<EndModel>& ends() const { return ends_; }
  [[nodiscard]] const std::vector<BusModel>& buses() const { return buses_; }
  [[nodiscard]] const std::vector<Port>& ports() const { return ports_; }
  // An id that was given out twice.
  [[nodiscard]] bool saw_reused_id() const { return reused_id_; }

  // Makes the model forget one rule, to show that a difference is found.
  void lie() { lies_ = true; }

 private:
  NameModel* find_name(NameId id);
  NameModel* find_name(std::string_view text);
  Alias* find_alias(std::string_view text);
  EndModel* find_end(FlowId flow);
  BusModel* find_bus(BusId id);
  BusModel* find_bus(std::string_view text);
  [[nodiscard]] std::vector<Port> ports_of(BusId id) const;
  [[nodiscard]] std::uint64_t readers_of(BusId id) const;
  [[nodiscard]] std::uint64_t writers_of(BusId id) const;
  [[nodiscard]] bool has_port(const BusModel& bus, uid_t uid) const;
  void bus_event(const BusModel& bus, bool everywhere, EventKind kind, uid_t uid,
                 const std::string& detail);
  void port_event(const Port& port, EventKind kind, std::string_view more);
  // Whoever is charged for one of it, once for each.
  [[nodiscard]] std::vector<uid_t> holders_of(Resource resource) const;
  [[nodiscard]] int text_error(std::string_view text) const;
  [[nodiscard]] int charge_error(uid_t uid, Resource resource) const;
  [[nodiscard]] std::uint64_t users_of(Resource resource, uid_t newcomer) const;
  [[nodiscard]] bool has_place(const NameModel& name, uid_t uid) const;
  void admit(const NameModel& name);
  EndModel* next_client(NameId id);
  EndModel* next_server(const NameModel& name);
  [[nodiscard]] std::uint64_t merit(const NameModel& name, const End& server) const;
  [[nodiscard]] std::uint64_t flows_now(NameId id) const;
  [[nodiscard]] Registry::Waiting waiting(NameId id) const;
  void establish(NameModel& name, End& actor, End& other_end);
  void leave(EndModel& end, bool gone);
  void fail(EndModel& client, int error);
  void add_end(FlowId flow, NameId id, Side side, FlowState state, Opener who, Rights rights);
  void event(EventKind kind, const std::string& object, uid_t uid, const std::string& detail = "");
  [[nodiscard]] std::string compare_names(const Registry& registry) const;
  [[nodiscard]] std::string compare_ends(const Registry& registry) const;

  Users::Config config_;
  std::map<std::pair<uid_t, Resource>, std::uint64_t> limits_;
  std::vector<NameModel> names_;
  std::vector<Alias> aliases_;
  std::vector<EndModel> ends_;  // in the order they were opened
  std::vector<BusModel> buses_;
  std::vector<Port> ports_;  // in the order they joined
  std::vector<std::string> effects_;
  std::vector<std::string> bus_events_;
  std::set<NameId> name_ids_;
  std::set<FlowId> flow_ids_;
  std::set<BusId> bus_ids_;
  std::set<PortId> port_ids_;
  std::uint64_t clock_ = 0;  // counts admissions and servings
  bool reused_id_ = false;
  bool lies_ = false;
};

}  // namespace flowfs::registry::sim
