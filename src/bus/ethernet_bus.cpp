// SPDX-License-Identifier: BSD-3-Clause
#include "bus/ethernet_bus.hpp"

#include <algorithm>

namespace flowfs::bus {
namespace {

// What a frame counts as, each of those that it stands for `more` bytes longer.
Worth worth_of(std::span<const std::byte> frame, const Offload& offload, int more) {
  const FramesWithin within = frames_within(frame, offload);
  const auto bytes =
      static_cast<std::int64_t>(within.bytes) + static_cast<std::int64_t>(within.count) * more;
  return {.messages = static_cast<std::uint32_t>(within.count),
          .bytes = static_cast<std::uint32_t>(bytes)};
}

}  // namespace

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
  const Worth worth = worth_of(frame_, offload_, 0);
  if (why == Drop::none) {
    group(decision_);
    if (!lay_out(port != nullptr && port->frames == Frames::with_offload, message)) {
      why = Drop::malformed;
    }
  }
  if (why == Drop::none) {
    sent.outcome = give(data, {.from = from, .bytes = message.size(), .worth = worth}, now);
    if (sent.outcome == SendOutcome::full) {
      return sent;
    }
  }
  if (why == Drop::oversize || sent.outcome == SendOutcome::too_long) {
    why = Drop::oversize;
    sent.outcome = SendOutcome::too_long;
  }
  drops_[static_cast<std::size_t>(why)] += worth.messages;
  if (port != nullptr) {
    port->drops[static_cast<std::size_t>(why)] += worth.messages;
  }
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

// What each group gets. False where the frame cannot be finished for those that need that.
bool EthernetBus::lay_out(bool from_interface, std::span<const std::byte> message) {
  made_.clear();
  parts_.clear();
  for (const Group& group : std::span(groups_).first(groups_used_)) {
    if (group.frames == Frames::with_offload || offload_.none()) {
      add_whole(group, from_interface, message);
    } else if (!add_finished(group)) {
      return false;
    }
  }
  return true;
}

// The frame as it came, with the header that came with it.
void EthernetBus::add_whole(const Group& group, bool from_interface,
                            std::span<const std::byte> message) {
  const bool with_header = group.frames == Frames::with_offload;
  const EditedFrame edits = edited(frame_, group.edit);
  const int more = static_cast<int>(edits.size()) - static_cast<int>(frame_.size());
  Part part{.ready = {},
            .begin = made_.size(),
            .size = edits.size() + (with_header ? kOffloadBytes : 0),
            .group = &group,
            .worth = worth_of(frame_, offload_, more)};
  if (group.edit.kind == Edit::Kind::as_is && (!with_header || from_interface)) {
    part.ready = with_header ? message : frame_;
    parts_.push_back(part);
    return;
  }
  made_.resize(part.begin + part.size);
  auto room = std::span(made_).subspan(part.begin);
  if (with_header) {
    const auto header = room.first<kOffloadBytes>();
    std::ranges::copy(header_, header.begin());
    move_offload(header, more);
    room = room.subspan(kOffloadBytes);
  }
  edits.copy_to(room);
  parts_.push_back(part);
}

// The frames that it stands for.
bool EthernetBus::add_finished(const Group& group) {
  return finish_frames(frame_, offload_, finished_, [&](std::span<const std::byte> finished) {
    const EditedFrame edits = edited(finished, group.edit);
    parts_.push_back({.ready = {},
                      .begin = made_.size(),
                      .size = edits.size(),
                      .group = &group,
                      .worth = {.bytes = static_cast<std::uint32_t>(edits.size())}});
    made_.resize(made_.size() + edits.size());
    edits.copy_to(std::span(made_).last(edits.size()));
  });
}

SendOutcome EthernetBus::give(Bus& data, const Bus::Original& original, Instant now) {
  forms_.clear();
  for (const Part& part : parts_) {
    const auto bytes =
        part.ready.empty() ? std::span(made_).subspan(part.begin, part.size) : part.ready;
    forms_.push_back({.bytes = bytes, .to = part.group->ports, .worth = part.worth});
  }
  return data.send_forms(original, forms_, now);
}

}  // namespace flowfs::bus
