// SPDX-License-Identifier: BSD-3-Clause
#include "fs/bus_values.hpp"

#include <fmt/format.h>

#include <utility>

#include "fs/attributes.hpp"

namespace flowfs::fs {
namespace {

using registry::BusSettings;
using registry::kUnlimited;

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
    return choose(settings.policy, text, {registry::BusPolicy::broadcast});
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
  settings.*spec->field = *number;
  return {};
}

std::string format_members(const Buses& buses, const registry::BusInfo& bus) {
  const bus::Bus& data = buses.find(bus.id)->data;
  const Instant now = Clock::now();
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

std::string format_bus_stats(const bus::PortCounts& totals, const registry::BusInfo& bus) {
  return fmt::format(
      "sent {}\nbytes {}\ndelivered {}\ndropped {}\nlag {}\nmembers {}\nreaders {}\nwriters {}\n",
      totals.sent, totals.sent_bytes, totals.delivered, totals.dropped, totals.lag,
      bus.ports.size(), bus.readers, bus.writers);
}

std::string format_port_stats(const bus::PortCounts& counts) {
  return fmt::format(
      "sent {}\nsent_bytes {}\ndelivered {}\ndelivered_bytes {}\ndropped {}\nlag {}\n", counts.sent,
      counts.sent_bytes, counts.delivered, counts.delivered_bytes, counts.dropped, counts.lag);
}

}  // namespace flowfs::fs
