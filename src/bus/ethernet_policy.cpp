// SPDX-License-Identifier: BSD-3-Clause
#include "bus/ethernet_policy.hpp"

#include <algorithm>

namespace flowfs::bus {

void EthernetPolicy::join(PortNumber port) {
  if (places_.try_emplace(port, ports_.size()).second) {
    ports_.push_back({.number = port, .shut = false, .vlans = {}});
  }
}

void EthernetPolicy::leave(PortNumber port) {
  const auto found = places_.find(port);
  if (found == places_.end()) {
    return;
  }
  const std::size_t place = found->second;
  places_.erase(found);
  ports_.erase(ports_.begin() + static_cast<std::ptrdiff_t>(place));
  for (std::size_t at = place; at < ports_.size(); ++at) {
    places_[ports_[at].number] = at;
  }
  forget(port);
}

EthernetPolicy::Port* EthernetPolicy::find(PortNumber port) {
  const auto found = places_.find(port);
  return found == places_.end() ? nullptr : &ports_[found->second];
}

const EthernetPolicy::Port* EthernetPolicy::find(PortNumber port) const {
  const auto found = places_.find(port);
  return found == places_.end() ? nullptr : &ports_[found->second];
}

bool EthernetPolicy::set_vlans(PortNumber port, const PortVlans& vlans) {
  Port* const found = find(port);
  if (found == nullptr) {
    return false;
  }
  found->vlans = vlans;
  forget(port);  // stations were heard there in VLANs that it may not be in any more
  return true;
}

const PortVlans* EthernetPolicy::vlans(PortNumber port) const {
  const Port* const found = find(port);
  return found == nullptr ? nullptr : &found->vlans;
}

bool EthernetPolicy::is_shut(PortNumber port) const {
  const Port* const found = find(port);
  return found != nullptr && found->shut;
}

// Why a frame is not even looked at further; none where it is.
Drop EthernetPolicy::refused(const Port* from, const std::optional<FrameHeader>& header,
                             std::size_t bytes) const {
  if (bytes > most_bytes_) {
    return Drop::oversize;
  }
  if (!header) {
    return Drop::runt;
  }
  if (is_group(header->source)) {
    return Drop::bad_source;
  }
  if (from == nullptr) {
    return Drop::nobody;
  }
  return from->shut ? Drop::looped : Drop::none;
}

void EthernetPolicy::decide(PortNumber from, std::span<const std::byte> frame, Instant now,
                            Decision& out) {
  out.clear();
  const std::optional<FrameHeader> header = parse_frame(frame);
  const Port* const port = find(from);
  if (const Drop why = refused(port, header, frame.size()); why != Drop::none) {
    out.refuse(why);
    return;
  }
  const std::optional<VlanId> vlan = port->vlans.takes(header->tci);
  if (!vlan) {
    out.refuse(Drop::wrong_vlan);
    return;
  }
  if (const auto way = way_to(*header, *vlan, from, now)) {
    const Port* const to = find(*way);
    const auto edit = to->shut ? std::nullopt : to->vlans.gives(*vlan, header->tci);
    if (*way == from) {
      out.refuse(Drop::same_port);
    } else if (!edit) {
      out.refuse(Drop::wrong_vlan);
    } else {
      out.deliver(*way, *edit);
    }
    return;
  }
  // Only what is flooded can run in a loop.
  if (const auto with = loops_.seen(frame, from, now)) {
    close_loop(from, *with, out);
    if (is_shut(from)) {
      out.refuse(Drop::looped);
      return;
    }
  }
  flood(*header, *vlan, from, out);
}

// Shuts the newer of two ports, unless one of them has left or is shut already.
void EthernetPolicy::close_loop(PortNumber one, PortNumber other, Decision& out) {
  Port* const a = find(one);
  Port* const b = find(other);
  if (a == nullptr || b == nullptr || a->shut || b->shut) {
    return;
  }
  Port* const newer = std::max(a, b);  // ports_ is in the order of joining
  newer->shut = true;
  forget(newer->number);
  out.shut(newer->number);
}

void EthernetPolicy::flood(const FrameHeader& header, VlanId vlan, PortNumber from,
                           Decision& out) const {
  for (const Port& port : ports_) {
    if (port.number == from || port.shut) {
      continue;
    }
    if (const auto edit = port.vlans.gives(vlan, header.tci)) {
      out.deliver(port.number, *edit);
    }
  }
  if (out.deliveries().empty()) {
    out.refuse(Drop::nobody);
  }
}

std::optional<PortNumber> SwitchPolicy::way_to(const FrameHeader& header, VlanId vlan,
                                               PortNumber from, Instant now) {
  stations_.learn(header.source, vlan, from, now);
  return stations_.find(header.destination, vlan, now);
}

std::optional<PortNumber> HubPolicy::way_to(const FrameHeader&, VlanId, PortNumber, Instant) {
  return std::nullopt;
}

void HubPolicy::forget(PortNumber) {}

}  // namespace flowfs::bus
