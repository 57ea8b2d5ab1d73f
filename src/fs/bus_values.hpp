// SPDX-License-Identifier: BSD-3-Clause
// The files of buses/BUS, and the text of those that have a value: in and out.
//
// Errors: EINVAL what cannot be parsed; ERANGE what is out of range; EACCES what cannot be set.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fs/buses.hpp"

namespace flowfs::fs {

// In the order of Node::file. From `policy` to `events` the mode derives from that of `bus`.
enum BusNode : std::uint8_t {
  directory,
  bus_file,
  policy,
  delivery,
  mtu,
  depth,
  history,
  writers,
  ports,
  evict,
  events,
  members,
  stats,
  port,
};

std::string format_setting(const registry::BusSettings& settings, std::uint8_t file);
Status set_setting(registry::BusSettings& settings, std::uint8_t file, std::string_view text);

// A line for each port: number, uid, pid, mode, lag, delivered, dropped, and age in microseconds.
std::string format_members(const Buses& buses, const registry::BusInfo& bus);
std::string format_bus_stats(const bus::PortCounts& totals, const registry::BusInfo& bus);
std::string format_port_stats(const bus::PortCounts& counts);

}  // namespace flowfs::fs
