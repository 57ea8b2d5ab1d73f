// SPDX-License-Identifier: BSD-3-Clause
// Which outcomes of which operations the simulator has seen: a simulation that never reaches a
// refusal proves nothing about it.
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace flowfs::registry::sim {

enum class Operation : std::uint8_t {
  create_name,
  create_alias,
  remove_name,
  remove_alias,
  rename,
  exchange,
  set_settings,
  open_accept,
  open_dial,
  release,
  close,
  death,
  tick,
  wait,
  set_limit,
  reconfigure,
  create_bus,
  remove_bus,
  rename_bus,
  exchange_buses,
  set_bus,
  join_bus,
  leave_bus,
  shut_down,
};
inline constexpr std::size_t kOperations = 24;

inline constexpr std::array<std::string_view, kOperations> kOperationNames = {
    "create_name",  "create_alias",   "remove_name", "remove_alias", "rename",     "exchange",
    "set_settings", "open_accept",    "open_dial",   "release",      "close",      "death",
    "tick",         "wait",           "set_limit",   "reconfigure",  "create_bus", "remove_bus",
    "rename_bus",   "exchange_buses", "set_bus",     "join_bus",     "leave_bus",  "shut_down"};

struct Outcome {
  Operation operation;
  int error;
};

// Every outcome there is.
inline constexpr std::array kOutcomes = {
    Outcome{Operation::create_name, 0},
    Outcome{Operation::create_name, EINVAL},
    Outcome{Operation::create_name, ENAMETOOLONG},
    Outcome{Operation::create_name, EEXIST},
    Outcome{Operation::create_name, EDQUOT},
    Outcome{Operation::create_name, ENFILE},
    Outcome{Operation::create_alias, 0},
    Outcome{Operation::create_alias, EINVAL},
    Outcome{Operation::create_alias, ENAMETOOLONG},
    Outcome{Operation::create_alias, EEXIST},
    Outcome{Operation::create_alias, EDQUOT},
    Outcome{Operation::create_alias, ENFILE},
    Outcome{Operation::remove_name, 0},
    Outcome{Operation::remove_name, ENOENT},
    Outcome{Operation::remove_name, ENOTDIR},
    Outcome{Operation::remove_name, EBUSY},
    Outcome{Operation::remove_alias, 0},
    Outcome{Operation::remove_alias, ENOENT},
    Outcome{Operation::remove_alias, EISDIR},
    Outcome{Operation::rename, 0},
    Outcome{Operation::rename, EINVAL},
    Outcome{Operation::rename, ENAMETOOLONG},
    Outcome{Operation::rename, ENOENT},
    Outcome{Operation::rename, EEXIST},
    Outcome{Operation::exchange, 0},
    Outcome{Operation::exchange, ENOENT},
    Outcome{Operation::set_settings, 0},
    Outcome{Operation::open_accept, 0},
    Outcome{Operation::open_accept, ENOENT},
    Outcome{Operation::open_accept, EDQUOT},
    Outcome{Operation::open_accept, ENFILE},
    Outcome{Operation::open_dial, 0},
    Outcome{Operation::open_dial, ENOENT},
    Outcome{Operation::open_dial, EDQUOT},
    Outcome{Operation::open_dial, ENFILE},
    Outcome{Operation::open_dial, ECONNREFUSED},
    Outcome{Operation::open_dial, EAGAIN},
    Outcome{Operation::release, 0},
    Outcome{Operation::close, 0},
    Outcome{Operation::death, 0},
    Outcome{Operation::tick, 0},
    Outcome{Operation::wait, 0},
    Outcome{Operation::set_limit, 0},
    Outcome{Operation::reconfigure, 0},
    Outcome{Operation::create_bus, 0},
    Outcome{Operation::create_bus, EINVAL},
    Outcome{Operation::create_bus, ENAMETOOLONG},
    Outcome{Operation::create_bus, EEXIST},
    Outcome{Operation::create_bus, EDQUOT},
    Outcome{Operation::create_bus, ENFILE},
    Outcome{Operation::remove_bus, 0},
    Outcome{Operation::remove_bus, ENOENT},
    Outcome{Operation::remove_bus, EBUSY},
    Outcome{Operation::rename_bus, 0},
    Outcome{Operation::rename_bus, EINVAL},
    Outcome{Operation::rename_bus, ENAMETOOLONG},
    Outcome{Operation::rename_bus, ENOENT},
    Outcome{Operation::rename_bus, EEXIST},
    Outcome{Operation::exchange_buses, 0},
    Outcome{Operation::exchange_buses, ENOENT},
    Outcome{Operation::set_bus, 0},
    Outcome{Operation::set_bus, EBUSY},
    Outcome{Operation::join_bus, 0},
    Outcome{Operation::join_bus, EADDRNOTAVAIL},
    Outcome{Operation::join_bus, EBUSY},
    Outcome{Operation::join_bus, EDQUOT},
    Outcome{Operation::join_bus, ENFILE},
    Outcome{Operation::leave_bus, 0},
    Outcome{Operation::shut_down, 0},
};

// Lives in memory that the simulating child process shares with its parent. One writer at a time;
// atomics only because a child may end in the middle of anything.
struct Coverage {
  std::array<std::atomic<std::uint64_t>, kOutcomes.size()> seen{};
  std::atomic<std::uint64_t> most_ends{0};

  void count(Operation operation, int error) {
    for (std::size_t index = 0; index < kOutcomes.size(); ++index) {
      if (kOutcomes[index].operation == operation && kOutcomes[index].error == error) {
        seen[index].fetch_add(1, std::memory_order_relaxed);
      }
    }
  }
};

}  // namespace flowfs::registry::sim
