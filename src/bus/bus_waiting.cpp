// SPDX-License-Identifier: BSD-3-Clause
// Who waits on a bus: readers for messages, senders for room, and everybody for a member that
// blocks a lossless bus.
#include <algorithm>

#include "bus/bus.hpp"

namespace flowfs::bus {

bool Bus::has_room(std::size_t bytes) const {
  return !limits_.lossless || log_.unread_bytes() == 0 ||
         log_.unread_bytes() + MessageLog::cost(bytes) <= limits_.depth_bytes;
}

bool Bus::writable(PortId id) {
  Port* port = find(id);
  make_room(limits_.mtu_bytes);
  if (port == nullptr || has_room(limits_.mtu_bytes)) {
    return true;
  }
  pollers_ += port->wants_room ? 0 : 1;
  port->wants_room = true;
  await_mapped();
  return false;
}

void Bus::wait_for_room(PortId id, std::size_t bytes, Instant now) {
  const Port* const port = find(id);
  if (port == nullptr) {
    return;
  }
  const Waiting waiting{.port = id, .bytes = bytes + port->refused_more};
  const auto entry = std::ranges::find(waiting_, id, &Waiting::port);
  if (entry != waiting_.end()) {
    *entry = waiting;
  } else if (turn_ == id && port->refused_more > 0) {
    waiting_.push_front(waiting);  // its turn came to nothing, as it takes more than it seemed
  } else {
    waiting_.push_back(waiting);
  }
  settle(now);
}

void Bus::stop_waiting(PortId id, Instant now) {
  std::erase_if(waiting_, [id](const Waiting& waiting) { return waiting.port == id; });
  if (Port* const port = find(id); port != nullptr) {
    port->refused_more = 0;
  }
  settle(now);
}

// Tells everybody who has something to do, until nobody has. What they do comes back here, finds
// that this runs already, and is seen by the next round.
void Bus::settle(Instant now) {
  if (settling_) {
    return;
  }
  settling_ = true;
  while (wake_one() || give_turn() || tell_poller()) {
  }
  settling_ = false;
  if (!limits_.lossless) {
    // What was dropped nobody is to read. What all have read may stay until there is no room: how
    // far that has come every reader looks at for each message.
    give_up_shared();
  }
  if (!waiting_.empty()) {
    note_blockers(now);
  }
  await_mapped();
}

bool Bus::wake_one() {
  if (woken_.empty()) {
    return false;
  }
  Port* port = find(woken_.back());
  woken_.pop_back();
  port->woken = false;
  port->member->on_message();
  return true;
}

bool Bus::give_turn() {
  if (waiting_.empty() || !has_room(waiting_.front().bytes)) {
    return false;
  }
  turn_ = waiting_.front().port;
  waiting_.pop_front();
  find(*turn_)->member->on_room();
  turn_.reset();
  return true;
}

bool Bus::tell_poller() {
  if (pollers_ == 0 || !has_room(limits_.mtu_bytes)) {
    return false;
  }
  const auto entry =
      std::ranges::find_if(ports_, [](const auto& one) { return one.second.wants_room; });
  entry->second.wants_room = false;
  --pollers_;
  entry->second.member->on_room();
  return true;
}

// Those who have not read the first message that somebody has still to read.
void Bus::note_blockers(Instant now) {
  if (!limits_.lossless || limits_.evict == Micros::max() || log_.unread_bytes() == 0) {
    return;
  }
  const Place place = log_.settled_end();
  for (auto& [id, port] : ports_) {
    if (port.blocks_since == kNever && has_to_read(port, place, log_.at(place))) {
      port.blocks_since = now;
    }
  }
}

void Bus::cut_off(PortId id, Instant now) {
  if (Port* const port = find(id); port != nullptr) {
    Member* const member = port->member;
    leave(id, now);
    member->on_cut_off();
  }
}

Instant Bus::next_deadline() const {
  Instant first = kNever;
  if (limits_.lossless && limits_.evict != Micros::max()) {
    for (const auto& [id, port] : ports_) {
      if (port.blocks_since != kNever) {
        first = std::min(first, later(port.blocks_since, limits_.evict));
      }
    }
  }
  return first;
}

void Bus::tick(Instant now) {
  refresh(now);
  std::vector<PortId> late;
  if (next_deadline() <= now) {
    for (const auto& [id, port] : ports_) {
      if (port.blocks_since != kNever && later(port.blocks_since, limits_.evict) <= now) {
        late.push_back(id);
      }
    }
  }
  for (const PortId id : late) {
    cut_off(id, now);
  }
}

std::string Bus::check_invariants() const {
  std::size_t bytes = 0;
  std::vector<std::uint64_t> lags(files_.size());
  for (Place place = log_.begin(); place < log_.end(); ++place) {
    const MessageLog::Record& record = log_.at(place);
    bytes += MessageLog::cost(record.length);
    std::uint32_t unread = !mapped_.empty() && place >= mapped_next_ ? 1 : 0;
    for (std::size_t i = 0; i < files_.size(); ++i) {
      const bool due = has_to_read(*files_[i], place, record);
      unread += due ? 1 : 0;
      lags[i] += due ? record.worth.messages : 0U;
    }
    if (unread != record.unread) {
      return "the log does not hold what is still to be read";
    }
  }
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (lags[i] != files_[i]->counts.lag) {
      return "the lag of a port is not what it has still to read";
    }
  }
  for (const Port* const port : mapped_) {
    if ((!port->own.empty() && port->own.front() <= port->next) ||
        std::max(port->next, log_.begin()) < mapped_next_) {
      return "a mapped member is behind what is known of it";
    }
  }
  if (bytes != log_.bytes()) {
    return "the log does not hold what it says";
  }
  if (!limits_.lossless && log_.begin() + 1 < log_.end() && bytes > limits_.depth_bytes) {
    return "the log is deeper than it may be";
  }
  if (!waiting_.empty() && has_room(waiting_.front().bytes)) {
    return "a member waits for room that is there";
  }
  return woken_.empty() ? "" : "a member was not told of a message";
}

}  // namespace flowfs::bus
