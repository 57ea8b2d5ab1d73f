// SPDX-License-Identifier: BSD-3-Clause
// Members, sending and reading. Who waits, and for how long, is in bus_waiting.cpp; members that
// read by themselves in bus_mapped.cpp.
#include "bus/bus.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/result.hpp"

namespace flowfs::bus {

Bus::Port* Bus::find(PortId id) {
  const auto it = ports_.find(id);
  return it == ports_.end() ? nullptr : &it->second;
}

const Bus::Port* Bus::find(PortId id) const {
  const auto it = ports_.find(id);
  return it == ports_.end() ? nullptr : &it->second;
}

void Bus::set_limits(const Limits& limits, Instant now) {
  limits_ = limits;
  for (auto& [id, port] : ports_) {
    port.blocks_since = kNever;  // counted anew, if it still blocks
  }
  shrink_to_depth();
  log_.trim(limits_.history);
  settle(now);
}

void Bus::join(PortId id, PortNumber number, Member& member, Rights rights) {
  woken_.reserve(ports_.size() + 1);
  numbers_.emplace(number, id);
  Port& port = ports_[id];
  port.number = number;
  port.member = &member;
  port.rights = rights;
  port.next = log_.end();
  if (rights.receive) {
    give_history(port);
  }
}

void Bus::give_history(Port& port) {
  std::uint64_t wanted = limits_.history;
  while (wanted > 0 && port.next > log_.begin()) {
    --port.next;
    if (!log_.at(port.next).audience) {
      --wanted;
      log_.read_again(port.next);
      count_due(port, log_.at(port.next).worth);
    }
  }
}

void Bus::leave(PortId id, Instant now) {
  const auto it = ports_.find(id);
  if (it == ports_.end()) {
    return;
  }
  Port& port = it->second;
  catch_up(id, port);
  forget_apart(id);
  drop_unread(id, port);
  pollers_ -= port.wants_room ? 1 : 0;
  numbers_.erase(port.number);
  ports_.erase(it);
  std::erase(woken_, id);
  std::erase_if(waiting_, [id](const Waiting& waiting) { return waiting.port == id; });
  log_.trim(limits_.history);
  settle(now);
}

void Bus::drop_unread(PortId id, Port& port) {
  for (Place place = std::max(port.next, log_.begin()); port.counts.lag > 0; ++place) {
    if (has_to_read(id, port, place, log_.at(place))) {
      count_dropped(port, log_.at(place).worth);
      log_.read(place);
    }
  }
}

void Bus::give_up(PortId id, Rights left, Instant now) {
  Port* port = find(id);
  if (port == nullptr) {
    return;
  }
  if (port->rights.receive && !left.receive) {
    catch_up(id, *port);
    drop_unread(id, *port);
    port->consumed = 0;
    port->overtaken = false;
    port->blocks_since = kNever;
  }
  if (port->rights.send && !left.send) {
    std::erase_if(waiting_, [id](const Waiting& waiting) { return waiting.port == id; });
  }
  port->rights = {.receive = port->rights.receive && left.receive,
                  .send = port->rights.send && left.send};
  log_.trim(limits_.history);
  settle(now);
}

SendOutcome Bus::send(PortId from, std::span<const std::byte> message, Instant now) {
  const SendOutcome outcome = admit(from, message.size(), message.size(), now);
  if (outcome == SendOutcome::ok) {
    MessageLog::Record record;
    record.sender = from;
    record.worth.bytes = static_cast<std::uint32_t>(message.size());
    store(std::move(record), message, now);
    count_sent(from, {.bytes = static_cast<std::uint32_t>(message.size())});
  }
  return outcome;
}

SendOutcome Bus::send_forms(const Original& original, std::span<const Form> forms, Instant now) {
  std::size_t longest = 0;
  std::size_t cost = 0;
  for (const Form& form : forms) {
    longest = std::max(longest, form.bytes.size());
    cost += MessageLog::cost(form.bytes.size());
  }
  const std::size_t bytes = cost - MessageLog::cost(0);
  const SendOutcome outcome = admit(original.from, longest, bytes, now);
  if (Port* const port = find(original.from); port != nullptr) {
    const bool more = outcome == SendOutcome::full && bytes > original.bytes;
    port->refused_more = more ? bytes - original.bytes : 0;
  }
  if (outcome != SendOutcome::ok) {
    return outcome;
  }
  bool counted = false;
  for (const Form& form : forms) {
    MessageLog::Record record;
    record.audience = audience_of(form.to);
    record.sender = original.from;
    record.worth = form.worth;
    store(std::move(record), form.bytes, now);
    if (!std::exchange(counted, true)) {
      count_sent(original.from, original.worth);
    }
  }
  return SendOutcome::ok;
}

MessageLog::Audience Bus::audience_of(std::span<const PortNumber> to) const {
  auto audience = std::make_unique<std::vector<PortId>>();
  audience->reserve(to.size());
  for (const PortNumber number : to) {
    if (const auto entry = numbers_.find(number); entry != numbers_.end()) {
      audience->push_back(entry->second);
    }
  }
  std::ranges::sort(*audience);
  return audience;
}

// Whether a message may come whose forms take `bytes` in all.
SendOutcome Bus::admit(PortId from, std::size_t longest, std::size_t bytes, Instant now) {
  if (longest > limits_.mtu_bytes) {
    return SendOutcome::too_long;
  }
  if (!has_room(bytes)) {
    catch_up_all();
  }
  if (!has_room(bytes) || (!waiting_.empty() && turn_ != from)) {
    note_blockers(now);
    return SendOutcome::full;
  }
  return SendOutcome::ok;
}

void Bus::store(MessageLog::Record record, std::span<const std::byte> message, Instant now) {
  const Place place = log_.end();
  for (const auto& [id, port] : ports_) {
    record.unread += has_to_read(id, port, place, record) ? 1 : 0;
  }
  if (record.unread > 0 || (limits_.history > 0 && !record.audience)) {
    lay_down(record, message);
    log_.push(std::move(record));
    for (auto& [id, port] : ports_) {
      if (has_to_read(id, port, place, log_.at(place))) {
        count_due(port, log_.at(place).worth);
        wake(id, port);
      }
    }
  }
  shrink_to_depth();
  log_.trim(limits_.history);
  give_up_shared();
  settle(now);
}

void Bus::wake(PortId id, Port& port) {
  if (!std::exchange(port.woken, true)) {
    woken_.push_back(id);
  }
}

Bus::Front Bus::front(PortId id) {
  Port* port = find(id);
  if (port == nullptr) {
    return {};
  }
  if (std::exchange(port->overtaken, false)) {
    return {.outcome = ReadOutcome::overtaken, .rest = {}};
  }
  if (port->counts.lag == 0) {
    return {};
  }
  port->next = std::max(port->next, log_.begin());
  while (!has_to_read(id, *port, port->next, log_.at(port->next))) {
    ++port->next;
  }
  return {.outcome = ReadOutcome::ok,
          .rest = payload_of(log_.at(port->next)).subspan(port->consumed)};
}

bool Bus::has_begun(PortId id) const {
  const Port* port = find(id);
  return port != nullptr && port->consumed > 0;
}

void Bus::consume(PortId id, std::size_t bytes, Instant now) {
  Port* port = find(id);
  if (port == nullptr) {
    return;
  }
  port->consumed += bytes;
  if (port->consumed < log_.at(port->next).length) {
    return;
  }
  port->consumed = 0;
  port->blocks_since = kNever;
  count_delivered(*port, log_.at(port->next).worth);
  log_.read(port->next++);
  log_.trim(limits_.history);
  settle(now);
}

std::uint64_t Bus::skip(PortId id, Instant now) {
  Port* port = find(id);
  if (port == nullptr || port->counts.lag == 0) {
    return 0;
  }
  Place newest = log_.end() - 1;
  while (!has_to_read(id, *port, newest, log_.at(newest))) {
    --newest;
  }
  const std::uint64_t skipped = port->counts.lag - log_.at(newest).worth.messages;
  if (skipped == 0) {
    return 0;
  }
  for (port->next = std::max(port->next, log_.begin()); port->next < newest; ++port->next) {
    if (has_to_read(id, *port, port->next, log_.at(port->next))) {
      count_dropped(*port, log_.at(port->next).worth);
      log_.read(port->next);
    }
  }
  port->consumed = 0;
  port->overtaken = false;
  port->blocks_since = kNever;
  log_.trim(limits_.history);
  settle(now);
  return skipped;
}

bool Bus::readable(PortId id) const {
  const Port* port = find(id);
  return port != nullptr && (port->overtaken || port->counts.lag > 0 || port->apart_lag > 0);
}

// What was pushed before a port joined, and is not history to it, lies before its `next`.
bool Bus::has_to_read(PortId id, const Port& port, Place place, const MessageLog::Record& record) {
  return port.rights.receive && !port.apart && port.next <= place && record.is_for(id);
}

// Down to the depth, or to one message. A lossless bus gives up only what everybody has read.
void Bus::shrink_to_depth() {
  if (log_.bytes() > limits_.depth_bytes && log_.settled_end() == log_.begin()) {
    catch_up_all();
  }
  while (log_.bytes() > limits_.depth_bytes && log_.begin() + 1 < log_.end() &&
         (!limits_.lossless || log_.settled_end() > log_.begin())) {
    drop_first();
  }
}

void Bus::drop_first() {
  const Place place = log_.begin();
  const MessageLog::Record& record = log_.at(place);
  for (auto& [id, port] : ports_) {
    if (record.unread > 0 && has_to_read(id, port, place, record)) {
      count_dropped(port, record.worth);
      port.overtaken = port.overtaken || port.consumed > 0;
      port.consumed = 0;
      port.next = place + 1;
      port.blocks_since = kNever;
    }
  }
  log_.pop();
}

void Bus::count_delivered(Port& port, Worth worth) {
  for (PortCounts* counts : {&port.counts, &totals_}) {
    counts->lag -= worth.messages;
    counts->delivered += worth.messages;
    counts->delivered_bytes += worth.bytes;
  }
}

void Bus::count_due(Port& port, Worth worth) {
  port.counts.lag += worth.messages;
  totals_.lag += worth.messages;
}

void Bus::count_dropped(Port& port, Worth worth) {
  for (PortCounts* counts : {&port.counts, &totals_}) {
    counts->lag -= worth.messages;
    counts->dropped += worth.messages;
  }
}

PortCounts Bus::counts(PortId id) const {
  const Port* port = find(id);
  if (port == nullptr) {
    return {};
  }
  PortCounts counts = port->counts;
  counts.lag += port->apart_lag;
  return counts;
}

PortCounts Bus::totals() const {
  PortCounts counts = totals_;
  counts.lag += apart_lag_;
  return counts;
}

}  // namespace flowfs::bus
