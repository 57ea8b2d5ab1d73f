// SPDX-License-Identifier: BSD-3-Clause
#include "fs/bus_values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "fs/attributes.hpp"
#include "fs/mapped_member.hpp"

namespace flowfs::fs {
namespace {

using registry::BusSettings;

constexpr std::size_t kMostPortName = 63;

// An attribute that is a number.
struct NumberSpec {
  std::uint64_t BusSettings::* field;
  std::uint64_t least;
  std::uint64_t most;
  bool max_allowed;
};

const NumberSpec* number_spec(std::uint8_t file) {
  static constexpr std::uint64_t kMostMtu = 64ULL << 20;
  static constexpr std::uint64_t kMostDepth = 1ULL << 30;
  static constexpr std::uint64_t kMostEvict = 1'000'000'000'000;  // 11 days, in microseconds
  static constexpr std::pair<BusNode, NumberSpec> kNumbers[] = {
      {mtu, {&BusSettings::mtu_bytes, 1, kMostMtu, false}},
      {depth, {&BusSettings::depth_bytes, 1, kMostDepth, false}},
      {history, {&BusSettings::history, 0, registry::kMostHistory, false}},
      {writers, {&BusSettings::writers, 1, registry::kMostPorts, true}},
      {ports, {&BusSettings::ports, 1, registry::kMostPorts, false}},
      {evict, {&BusSettings::evict_us, 1, kMostEvict, true}},
  };
  for (const auto& [which, spec] : kNumbers) {
    if (which == file) {
      return &spec;
    }
  }
  return nullptr;
}

// Sets `field` to the one of `choices` that is written as `text`.
template <typename T>
Status choose(T& field, std::string_view text, std::initializer_list<T> choices) {
  for (const T choice : choices) {
    if (trim(text) == registry::to_string(choice)) {
      field = choice;
      return {};
    }
  }
  return fail(EINVAL, "not one of the values it may have");
}

bool is_ethernet(const BusSettings& settings) {
  return settings.policy != registry::BusPolicy::broadcast;
}

// A frame is shorter than a message may be, and a bus that becomes an Ethernet takes no longer one.
Status choose_policy(BusSettings& settings, std::string_view text) {
  using registry::BusPolicy;
  const Status status =
      choose(settings.policy, text,
             {BusPolicy::broadcast, BusPolicy::ethernet_switch, BusPolicy::ethernet_hub});
  if (is_ethernet(settings)) {
    settings.mtu_bytes = std::min<std::uint64_t>(settings.mtu_bytes, bus::EthernetBus::kMostFrame);
  }
  return status;
}

// `NAME_drops N` for each reason.
std::string format_drops(const bus::EthernetBus::Drops& drops) {
  std::string text;
  for (std::size_t why = 1; why < bus::kDrops; ++why) {
    text += fmt::format("{} {}\n", bus::to_string(bus::Drop(why)), drops[why]);
  }
  return text;
}

std::string_view mode_of(registry::Rights rights) {
  if (rights.receive && rights.send) {
    return "rw";
  }
  return rights.receive ? "r" : "w";
}

}  // namespace

std::string format_setting(const BusSettings& settings, std::uint8_t file) {
  if (file == policy) {
    return std::string(to_string(settings.policy));
  }
  if (file == delivery) {
    return std::string(to_string(settings.delivery));
  }
  return format_number(settings.*number_spec(file)->field);
}

Status set_setting(BusSettings& settings, std::uint8_t file, std::string_view text) {
  if (file == policy) {
    return choose_policy(settings, text);
  }
  if (file == delivery) {
    return choose(settings.delivery, text,
                  {registry::Delivery::lossy, registry::Delivery::lossless});
  }
  const NumberSpec* spec = number_spec(file);
  if (spec == nullptr) {
    return fail(EACCES, "not an attribute that can be set");
  }
  const auto number = parse_number(text, spec->least, spec->most, spec->max_allowed);
  if (!number) {
    return std::unexpected(number.error());
  }
  if (file == mtu && is_ethernet(settings) && *number > bus::EthernetBus::kMostFrame) {
    return fail(ERANGE, "longer than a frame may be");
  }
  settings.*spec->field = *number;
  return {};
}

std::string format_members(const Buses& buses, const registry::BusInfo& bus) {
  LiveBus& live = *buses.find(bus.id);
  const bus::Bus& data = live.data;
  const Instant now = Clock::now();
  live.refresh();
  std::string text;
  for (const auto& [number, id] : bus.ports) {
    const registry::Port& port = *buses.registry().find_port(id);
    const bus::PortCounts counts = data.counts(id);
    text +=
        fmt::format("{} {} {} {} {} {} {} {}\n", std::to_underlying(number), port.opener.uid,
                    port.opener.pid, mode_of(port.rights), counts.lag, counts.delivered,
                    counts.dropped, std::chrono::duration_cast<Micros>(now - port.since).count());
  }
  return text;
}

std::string format_bus_stats(const bus::PortCounts& totals, const registry::BusInfo& bus,
                             const bus::EthernetBus* ethernet) {
  std::string text = fmt::format(
      "sent {}\nbytes {}\ndelivered {}\ndropped {}\nlag {}\nmembers {}\nreaders {}\nwriters {}\n",
      totals.sent, totals.sent_bytes, totals.delivered, totals.dropped, totals.lag,
      bus.ports.size(), bus.readers, bus.writers);
  if (ethernet != nullptr) {
    text += format_drops(ethernet->drops());
  }
  if (ethernet != nullptr && ethernet->learning() != nullptr) {
    text += fmt::format("stations {}\nmoves {}\n", ethernet->learning()->stations().size(),
                        ethernet->learning()->stations().moves());
  }
  return text;
}

std::string format_port_stats(const LiveBus& live, const registry::Port& port) {
  const bus::PortCounts counts = live.data.counts(port.id);
  std::string text = fmt::format(
      "sent {}\nsent_bytes {}\ndelivered {}\ndelivered_bytes {}\ndropped {}\nlag {}\n", counts.sent,
      counts.sent_bytes, counts.delivered, counts.delivered_bytes, counts.dropped, counts.lag);
  if (live.ethernet != nullptr) {
    text += format_drops(live.ethernet->drops(port.number));
    text += fmt::format("shut {}\n", live.ethernet->policy().is_shut(port.number) ? 1 : 0);
  } else {
    const auto mapped = live.mapped.find(port.id);
    text +=
        fmt::format("refused {}\n", mapped != live.mapped.end() ? mapped->second->refused() : 0);
  }
  return text;
}

std::string format_macs(const bus::EthernetBus* ethernet) {
  std::string text;
  if (ethernet == nullptr || ethernet->learning() == nullptr) {
    return text;
  }
  const Instant now = Clock::now();
  for (const bus::MacTable::Station& station : ethernet->learning()->stations().stations(now)) {
    text += fmt::format("{} {} {} {}\n", bus::to_string(station.address),
                        std::to_underlying(station.vlan), std::to_underlying(station.port),
                        std::chrono::duration_cast<Micros>(now - station.heard).count());
  }
  return text;
}

std::string format_attachment(Attachment& attachment, const registry::Port* port) {
  const Attachment::Counts& counts = attachment.counts();
  return fmt::format(
      "state {}\nport {}\nframes_in {}\nbytes_in {}\nframes_out {}\nbytes_out {}\nlost_in {}\n"
      "lost_out {}\n",
      to_string(attachment.state()), port != nullptr ? std::to_underlying(port->number) : 0,
      counts.frames_in, counts.bytes_in, counts.frames_out, counts.bytes_out, counts.lost_in,
      counts.lost_out);
}

Result<std::string> format_vlan(const LiveBus& live, const registry::Port& port) {
  if (live.ethernet == nullptr) {
    return fail(EOPNOTSUPP, "not an Ethernet bus");
  }
  return live.ethernet->policy().vlans(port.number)->text() + "\n";
}

Status set_vlan(LiveBus& live, const registry::Port& port, std::string_view text) {
  if (live.ethernet == nullptr) {
    return fail(EOPNOTSUPP, "not an Ethernet bus");
  }
  const auto vlans = bus::PortVlans::parse(trim(text));
  if (!vlans) {
    return std::unexpected(vlans.error());
  }
  live.ethernet->policy().set_vlans(port.number, *vlans);
  return {};
}

std::string format_port_name(const LiveBus& live, const registry::Port& port) {
  const auto found = live.names.find(port.id);
  return found == live.names.end() ? "\n" : found->second + "\n";
}

Status set_port_name(LiveBus& live, const registry::Port& port, std::string_view text) {
  const std::string_view name = trim(text);
  const bool printable = std::ranges::all_of(name, [](char c) { return c > ' ' && c < '\x7f'; });
  if (!printable) {
    return fail(EINVAL, "name of a port");
  }
  if (name.size() > kMostPortName) {
    return fail(ERANGE, "name of a port");
  }
  live.names[port.id] = name;
  return {};
}

}  // namespace flowfs::fs
