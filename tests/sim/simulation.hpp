// SPDX-License-Identifier: BSD-3-Clause
// One world: the registries and their model, driven through the same random operations.
//
// Threads: one.
// Invariants: what a step does depends on the seed, its number and the present state alone, so any
// subset of the steps is a simulation too (and finding the smallest that still fails is easy).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "coverage.hpp"
#include "model.hpp"
#include "random.hpp"
#include "registry/buses.hpp"
#include "registry/registry.hpp"

namespace flowfs::registry::sim {

class Simulation {
 public:
  struct Options {
    bool trace = false;  // print each operation
    bool lie = false;    // let the model forget a rule
  };

  Simulation(std::uint64_t seed, Options options, Coverage& coverage);

  // Does one step and compares. Empty, or what went wrong.
  std::string step(std::uint64_t number);
  // Takes everything away and looks whether every charge is back.
  std::string finish();

 private:
  // What kind of world the seed makes: from one name and two users to many of both.
  struct World {
    std::vector<std::string> texts;
    std::vector<uid_t> uids;
    std::uint64_t pids = 1;
    std::uint64_t most_backlog = 1;
    std::uint64_t most_ports = 1;
    std::uint64_t longest_timeout_us = 1;
    std::uint64_t steps_per_phase = 1;
    Users::Config quotas{};
  };
  static World make_world(std::uint64_t seed);

  void operate(Random& random, std::uint64_t number);
  void manage(Random& random);
  void pass_time(Random& random);

  // operations.cpp
  void create_name(Random& random);
  void create_alias(Random& random);
  void remove_name(Random& random);
  void remove_alias(Random& random);
  void rename(Random& random);
  void exchange(Random& random);
  void set_settings(Random& random);
  void set_limit(Random& random);
  void reconfigure(Random& random);
  void open_accept(Random& random);
  void open_dial(Random& random);
  void release(Random& random);
  void close(Random& random);
  void die(Random& random);
  void tick(Random& random);
  void wait(Random& random);

  // operations_buses.cpp
  void use_buses(Random& random, std::uint64_t leaving);
  void create_bus(Random& random);
  void remove_bus(Random& random);
  void rename_bus(Random& random);
  void exchange_buses(Random& random);
  void set_bus(Random& random);
  void join_bus(Random& random);
  void leave_bus(Random& random);
  void shut_down(Random& random);

  template <typename T>
  static int error_of(const Result<T>& result) {
    return result ? 0 : result.error().error;
  }
  std::string some_text(Random& random);
  Opener some_opener(Random& random);
  NameId some_name(Random& random);
  FlowId some_flow(Random& random);
  NameSettings some_settings(Random& random);
  BusSettings some_bus_settings(Random& random);
  static Rights some_rights(Random& random);

  // Notes the outcome that both agree on, or the difference.
  void expect(Operation operation, int expected, int real, const std::string& arguments);
  void compare_effects();
  void compare_texts(const std::vector<std::string>& real,
                     const std::vector<std::string>& expected);
  void compare_state();
  void differ(const std::string& difference);

  std::uint64_t seed_;
  Options options_;
  Coverage& coverage_;
  World world_;
  Users users_;
  Registry registry_;
  Buses buses_;
  Model model_;
  Instant now_{std::chrono::seconds(1)};
  std::string failure_;
};

}  // namespace flowfs::registry::sim
