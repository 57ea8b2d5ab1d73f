// SPDX-License-Identifier: BSD-3-Clause
// The files of buses/BUS, and the text of those that have a value: in and out.
//
// Errors: EINVAL what cannot be parsed; ERANGE what is out of range; EACCES what cannot be set.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fs/attachment.hpp"
#include "fs/buses.hpp"

namespace flowfs::fs {

// In the order of Node::file. From `policy` to `pcap` the mode derives from that of `bus`.
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
  log_file,
  events,
  pcap,
  members,
  stats,
  port,
  macs,
  tap,
  grab,
  vde,  // where there is an Ethernet to plug into
};

// The same for buses/BUS/port/N; `vlan` derives from `bus` too.
enum PortNode : std::uint8_t {
  port_directory,
  port_stats,
  port_name,
  port_vlan,
  port_ctl,
  port_tx,
};

std::string format_setting(const registry::BusSettings& settings, std::uint8_t file);
Status set_setting(registry::BusSettings& settings, std::uint8_t file, std::string_view text);

// A line for each port: number, uid, pid, mode, lag, delivered, dropped, and age in microseconds.
std::string format_members(const Buses& buses, const registry::BusInfo& bus);
// `ethernet` is null for a bus that is none; the reasons for which frames are dropped follow.
std::string format_bus_stats(const bus::PortCounts& totals, const registry::BusInfo& bus,
                             const bus::EthernetBus* ethernet);
// `refused` is what a mapped member sent and the bus could not keep.
std::string format_port_stats(const LiveBus& live, const registry::Port& port);
// A line for each station of a switch: address, VLAN, port, and age in microseconds.
std::string format_macs(const bus::EthernetBus* ethernet);
std::string format_attachment(Attachment& attachment, const registry::Port* port);

// The VLANs of a port, and its name. Errors: EOPNOTSUPP where the bus is no Ethernet.
Result<std::string> format_vlan(const LiveBus& live, const registry::Port& port);
Status set_vlan(LiveBus& live, const registry::Port& port, std::string_view text);
std::string format_port_name(const LiveBus& live, const registry::Port& port);
Status set_port_name(LiveBus& live, const registry::Port& port, std::string_view text);

}  // namespace flowfs::fs
