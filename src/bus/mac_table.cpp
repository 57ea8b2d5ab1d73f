// SPDX-License-Identifier: BSD-3-Clause
#include "bus/mac_table.hpp"

#include <algorithm>
#include <tuple>

namespace flowfs::bus {
namespace {

constexpr unsigned kAddressBits = 48;
// Nobody needs the age finer, and the list is left alone for all frames between.
constexpr Micros kRefresh = std::chrono::seconds(1);
// Where the table is full, looking through all of it for what has aged must not be done for every
// frame.
constexpr Micros kSweep = std::chrono::seconds(1);

}  // namespace

MacTable::Key MacTable::key_of(MacAddress address, VlanId vlan) {
  return Key(static_cast<std::uint64_t>(vlan) << kAddressBits |
             static_cast<std::uint64_t>(address));
}

bool MacTable::aged(const Entry& entry, Instant now) const {
  return now - entry.heard >= limits_.age;
}

MacTable::Learnt MacTable::learn(MacAddress address, VlanId vlan, PortNumber port, Instant now) {
  const Key key = key_of(address, vlan);
  const auto found = entries_.find(key);
  if (found == entries_.end()) {
    if (is_group(address) || !make_room(port, now)) {
      return Learnt::full;
    }
    Heard& heard = ports_[port];
    heard.push_back(key);
    entries_.emplace(key, Entry{port, now, std::prev(heard.end())});
    return Learnt::added;
  }
  Entry& entry = found->second;
  if (entry.port == port) {
    if (now - entry.heard >= kRefresh) {
      entry.heard = now;
      Heard& heard = ports_[port];
      heard.splice(heard.end(), heard, entry.place);
    }
    return Learnt::known;
  }
  erase(found);
  const Learnt again = learn(address, vlan, port, now);
  if (again == Learnt::added) {
    ++moves_;
    return Learnt::moved;
  }
  return again;
}

std::optional<PortNumber> MacTable::find(MacAddress address, VlanId vlan, Instant now) const {
  const auto found = entries_.find(key_of(address, vlan));
  if (found == entries_.end() || aged(found->second, now)) {
    return std::nullopt;
  }
  return found->second.port;
}

void MacTable::forget(PortNumber port) {
  const auto found = ports_.find(port);
  if (found == ports_.end()) {
    return;
  }
  for (const Key key : found->second) {
    entries_.erase(key);
  }
  ports_.erase(found);
}

void MacTable::forget_all() {
  entries_.clear();
  ports_.clear();
}

std::vector<MacTable::Station> MacTable::stations(Instant now) const {
  std::vector<Station> result;
  result.reserve(entries_.size());
  for (const auto& [key, entry] : entries_) {
    if (!aged(entry, now)) {
      const auto bits = static_cast<std::uint64_t>(key);
      result.push_back({MacAddress(bits & ((1ULL << kAddressBits) - 1)),
                        VlanId(static_cast<std::uint16_t>(bits >> kAddressBits)), entry.port,
                        entry.heard});
    }
  }
  std::ranges::sort(
      result, {}, [](const Station& station) { return std::tuple(station.vlan, station.address); });
  return result;
}

// Makes room for one more entry of `port`. False where there is none.
bool MacTable::make_room(PortNumber port, Instant now) {
  const auto mine = ports_.find(port);
  const std::size_t count = mine == ports_.end() ? 0 : mine->second.size();
  if (count >= limits_.most_of_port || (count > 0 && entries_.size() >= limits_.most)) {
    erase(entries_.find(mine->second.front()));
    return true;
  }
  if (entries_.size() < limits_.most) {
    return true;
  }
  if (now - swept_ < kSweep) {
    return false;
  }
  swept_ = now;
  for (auto& [number, heard] : ports_) {
    while (!heard.empty()) {
      const auto oldest = entries_.find(heard.front());
      if (!aged(oldest->second, now)) {
        break;
      }
      erase(oldest);
    }
  }
  return entries_.size() < limits_.most;
}

void MacTable::erase(Entries::iterator entry) {
  ports_[entry->second.port].erase(entry->second.place);
  entries_.erase(entry);
}

}  // namespace flowfs::bus
