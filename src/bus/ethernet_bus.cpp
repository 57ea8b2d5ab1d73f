// SPDX-License-Identifier: BSD-3-Clause
#include "bus/ethernet_bus.hpp"

#include <algorithm>

namespace flowfs::bus {

EthernetBus::EthernetBus(Kind kind, std::size_t most_bytes) : most_bytes_(most_bytes) {
  if (kind == Kind::hub) {
    policy_ = std::make_unique<HubPolicy>(kMostMessage);
    return;
  }
  auto made = std::make_unique<SwitchPolicy>(kMostMessage);
  switch_ = made.get();
  policy_ = std::move(made);
}

void EthernetBus::join(PortNumber port, Frames frames) {
  policy_->join(port);
  ports_[port] = {.frames = frames, .drops = {}};
}

void EthernetBus::leave(PortNumber port) {
  policy_->leave(port);
  ports_.erase(port);
}

EthernetBus::Drops EthernetBus::drops(PortNumber port) const {
  const auto found = ports_.find(port);
  return found == ports_.end() ? Drops{} : found->second.drops;
}

std::span<const std::byte> EthernetBus::frame_of(PortNumber port,
                                                 std::span<const std::byte> message) const {
  const auto found = ports_.find(port);
  const bool plain = found == ports_.end() || found->second.frames == Frames::plain;
  return message.subspan(plain ? 0 : std::min(kOffloadBytes, message.size()));
}

// Takes the message apart. Whether anything follows is the policy's to say, where the answer is
// none.
Drop EthernetBus::check(const Port* from, std::span<const std::byte> message) {
  header_ = {};
  offload_ = {};
  frame_ = message;
  if (from != nullptr && from->frames == Frames::with_offload) {
    if (message.size() < kOffloadBytes) {
      return Drop::runt;
    }
    std::ranges::copy(message.first<kOffloadBytes>(), header_.begin());
    const auto offload = parse_offload(header_);
    if (!offload) {
      return Drop::malformed;
    }
    offload_ = *offload;
    frame_ = message.subspan(kOffloadBytes);
  }
  return longest_frame(frame_, offload_) > most_bytes_ ? Drop::oversize : Drop::none;
}

EthernetBus::Sent EthernetBus::send(Bus& data, PortId from, PortNumber number,
                                    std::span<const std::byte> message, Instant now) {
  const auto found = ports_.find(number);
  Port* const port = found == ports_.end() ? nullptr : &found->second;
  Sent sent;
  Drop why = check(port, message);
  if (why == Drop::none) {
    policy_->decide(number, frame_, now, decision_);
    sent.newly_shut = decision_.newly_shut();
    why = decision_.drop();
  }
  if (why == Drop::none) {
    group(decision_);
    given_ = false;
    why = give_to_all(data, from, now);
  }
  // Who waits does so for room for the message, so a version longer than that must not wait: there
  // may be room for the one and not for the other.
  if (why == Drop::no_room && !given_ && version_.size() <= message.size()) {
    sent.outcome = SendOutcome::full;
    return sent;
  }
  ++drops_[static_cast<std::size_t>(why)];
  if (port != nullptr) {
    ++port->drops[static_cast<std::size_t>(why)];
  }
  sent.outcome = why == Drop::oversize ? SendOutcome::too_long : SendOutcome::ok;
  return sent;
}

void EthernetBus::group(const Decision& decision) {
  groups_used_ = 0;
  for (const Delivery& delivery : decision.deliveries()) {
    const Frames frames = ports_.at(delivery.port).frames;
    const auto used = std::span(groups_).first(groups_used_);
    auto same = std::ranges::find_if(used, [&](const Group& group) {
      return group.edit == delivery.edit && group.frames == frames;
    });
    if (same == used.end()) {
      groups_.resize(std::max(groups_.size(), ++groups_used_));
      Group& fresh = groups_[groups_used_ - 1];
      fresh.edit = delivery.edit;
      fresh.frames = frames;
      fresh.ports.assign(1, delivery.port);
    } else {
      same->ports.push_back(delivery.port);
    }
  }
}

Drop EthernetBus::give_to_all(Bus& data, PortId from, Instant now) {
  const auto used = std::span(groups_).first(groups_used_);
  // Those first that may make the sender wait; no port is in two of them, so the rest is any order.
  std::ranges::partition(used, [](const Group& group) {
    return group.edit.kind != Edit::Kind::tag_added && group.frames == Frames::plain;
  });
  for (const Group& group : used) {
    const Drop why = group.frames == Frames::plain && !offload_.none()
                         ? give_plain(data, from, group, now)
                         : give(data, from, group, now);
    if (why != Drop::none) {
      return why;
    }
  }
  return Drop::none;
}

// The frame as it came, with the header that came with it.
Drop EthernetBus::give(Bus& data, PortId from, const Group& group, Instant now) {
  const EditedFrame parts = edited(frame_, group.edit);
  const std::size_t before = group.frames == Frames::plain ? 0 : kOffloadBytes;
  version_.resize(before + parts.size());
  if (before > 0) {
    const auto header = std::span(version_).first<kOffloadBytes>();
    std::ranges::copy(header_, header.begin());
    move_offload(header, static_cast<int>(parts.size()) - static_cast<int>(frame_.size()));
  }
  parts.copy_to(std::span(version_).subspan(before));
  return pass_on(data, from, group, now);
}

Drop EthernetBus::give_plain(Bus& data, PortId from, const Group& group, Instant now) {
  Drop why = Drop::none;
  const bool fits =
      finish_frames(frame_, offload_, finished_, [&](std::span<const std::byte> finished) {
        const EditedFrame parts = edited(finished, group.edit);
        version_.resize(parts.size());
        parts.copy_to(version_);
        if (why == Drop::none) {
          why = pass_on(data, from, group, now);
        }
      });
  return fits ? why : Drop::malformed;
}

// version_ to the ports of a group.
Drop EthernetBus::pass_on(Bus& data, PortId from, const Group& group, Instant now) {
  switch (data.send_to(from, version_, group.ports, now)) {
    case SendOutcome::ok:
      given_ = true;
      return Drop::none;
    case SendOutcome::full:
      return Drop::no_room;
    case SendOutcome::too_long:
      break;
  }
  return Drop::oversize;
}

}  // namespace flowfs::bus
