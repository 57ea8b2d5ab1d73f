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
  catch_up_all();
  limits_ = limits;
  for (auto& [id, port] : ports_) {
    port.blocks_since = kNever;  // counted anew, if it still blocks
  }
  shrink_to_depth();
  log_.trim(limits_.history);
  settle(now);
}

void Bus::join(PortId id, PortNumber number, Member& member, Rights rights) {
  const std::size_t members = ports_.size() + 1;
  for (auto* const list : {&files_, &mapped_, &listeners_}) {
    list->reserve(members);
  }
  woken_.reserve(members);
  numbers_.emplace(number, id);
  Port& port = ports_[id];
  port.id = id;
  port.number = number;
  port.member = &member;
  port.rights = rights;
  port.next = log_.end();
  sort_in(port);
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
      port.counts.lag += log_.at(port.next).worth.messages;
    }
  }
}

// Among those by whom messages are read in its way.
void Bus::sort_in(Port& port) {
  std::erase(files_, &port);
  std::erase(mapped_, &port);
  if (port.rights.receive && !port.apart) {
    (port.reader != nullptr ? mapped_ : files_).push_back(&port);
  }
  if (port.reader == nullptr && std::exchange(port.awaits_message, false)) {
    std::erase(listeners_, &port);
  }
}

void Bus::leave(PortId id, Instant now) {
  const auto it = ports_.find(id);
  if (it == ports_.end()) {
    return;
  }
  Port& port = it->second;
  forget_apart(id);
  drop_unread(port);
  port.rights.receive = false;
  sort_in(port);
  release_mapped();
  pollers_ -= port.wants_room ? 1 : 0;
  numbers_.erase(port.number);
  ports_.erase(it);
  std::erase(woken_, id);
  std::erase_if(waiting_, [id](const Waiting& waiting) { return waiting.port == id; });
  log_.trim(limits_.history);
  settle(now);
}

void Bus::drop_unread(Port& port) {
  if (port.reader != nullptr) {
    catch_up(port);
    count_dropped(port, take_up_to(port, log_.end()));
    port.reader = nullptr;
  }
  for (Place place = std::max(port.next, log_.begin()); port.counts.lag > 0; ++place) {
    if (has_to_read(port, place, log_.at(place))) {
      port.counts.lag -= log_.at(place).worth.messages;
      count_dropped(port, log_.at(place).worth.messages);
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
    forget_apart(id);
    drop_unread(*port);
    port->consumed = 0;
    port->overtaken = false;
    port->blocks_since = kNever;
  }
  if (port->rights.send && !left.send) {
    std::erase_if(waiting_, [id](const Waiting& waiting) { return waiting.port == id; });
  }
  port->rights = {.receive = port->rights.receive && left.receive,
                  .send = port->rights.send && left.send};
  sort_in(*port);
  release_mapped();
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
  make_room(bytes);
  if (!has_room(bytes) || (!waiting_.empty() && turn_ != from)) {
    note_blockers(now);
    return SendOutcome::full;
  }
  return SendOutcome::ok;
}

void Bus::store(MessageLog::Record record, std::span<const std::byte> message, Instant now) {
  const Place place = log_.end();
  for (const Port* const port : files_) {
    record.unread += has_to_read(*port, place, record) ? 1 : 0;
  }
  Port* const sender = find(record.sender);
  const bool own = sender != nullptr && sender->reader != nullptr;
  if (record.unread > 0 || mapped_.size() > (own ? 1U : 0U) ||
      (limits_.history > 0 && !record.audience)) {
    push(std::move(record), message, own ? sender : nullptr);
    for (Port* const port : files_) {
      if (has_to_read(*port, place, log_.at(place))) {
        port->counts.lag += log_.at(place).worth.messages;
        wake(*port);
      }
    }
    wake_listeners(sender);
  }
  shrink_to_depth();
  log_.trim(limits_.history);
  settle(now);
}

void Bus::push(MessageLog::Record record, std::span<const std::byte> message, Port* mapped_sender) {
  record.unread += mapped_.empty() ? 0 : 1;
  lay_down(record, message);
  if (mapped_sender != nullptr && mapped_sender->own.size() == mapped_sender->own.capacity()) {
    mapped_sender->own.reserve(2 * mapped_sender->own.size() + 1);
  }
  log_.push(std::move(record));
  pushed_bytes_ += message.size();
  if (mapped_sender != nullptr) {
    mapped_sender->own.push_back(log_.end() - 1);
    take_up_to(*mapped_sender, mapped_sender->next);
    if (mapped_.size() == 1) {
      release_mapped();
    }
  }
}

void Bus::wake(Port& port) {
  if (!std::exchange(port.woken, true)) {
    woken_.push_back(port.id);
  }
}

Bus::Front Bus::front(PortId id) {
  Port* port = find(id);
  if (port == nullptr || port->reader != nullptr) {
    return {};
  }
  if (std::exchange(port->overtaken, false)) {
    return {.outcome = ReadOutcome::overtaken, .rest = {}};
  }
  if (port->counts.lag == 0) {
    return {};
  }
  port->next = std::max(port->next, log_.begin());
  while (!has_to_read(*port, port->next, log_.at(port->next))) {
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
  if (port == nullptr || port->reader != nullptr) {
    return;
  }
  port->consumed += bytes;
  if (port->consumed < log_.at(port->next).length) {
    return;
  }
  port->consumed = 0;
  port->blocks_since = kNever;
  const Worth& worth = log_.at(port->next).worth;
  port->counts.lag -= worth.messages;
  count_delivered(*port, worth.messages, worth.bytes);
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
  while (!has_to_read(*port, newest, log_.at(newest))) {
    --newest;
  }
  const std::uint64_t skipped = port->counts.lag - log_.at(newest).worth.messages;
  if (skipped == 0) {
    return 0;
  }
  for (port->next = std::max(port->next, log_.begin()); port->next < newest; ++port->next) {
    if (has_to_read(*port, port->next, log_.at(port->next))) {
      port->counts.lag -= log_.at(port->next).worth.messages;
      count_dropped(*port, log_.at(port->next).worth.messages);
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
  return port != nullptr && (port->overtaken || lag_of(*port) > 0 || port->apart_lag > 0);
}

// What was pushed before a port joined, and is not history to it, lies before its `next`.
bool Bus::has_to_read(const Port& port, Place place, const MessageLog::Record& record) {
  return port.rights.receive && !port.apart && port.next <= place && record.is_for(port.id);
}

std::uint64_t Bus::lag_of(const Port& port) const {
  return port.reader == nullptr ? port.counts.lag : log_.end() - port.next - port.own.size();
}

// Down to the depth, or to one message. A lossless bus gives up only what everybody has read.
void Bus::shrink_to_depth() {
  const auto may_go = [this] {
    return !limits_.lossless || log_.settled_end() > log_.begin() || catch_up_slowest();
  };
  while (log_.bytes() > limits_.depth_bytes && log_.begin() + 1 < log_.end() && may_go()) {
    if (!limits_.lossless || log_.settled_end() > log_.begin()) {
      drop_first();
    }
  }
}

void Bus::drop_first() {
  const Place place = log_.begin();
  const MessageLog::Record& record = log_.at(place);
  if (record.unread > 0) {
    for (Port* const port : files_) {
      if (has_to_read(*port, place, record)) {
        port->counts.lag -= record.worth.messages;
        count_dropped(*port, record.worth.messages);
        port->overtaken = port->overtaken || port->consumed > 0;
        port->consumed = 0;
        port->next = place + 1;
        port->blocks_since = kNever;
      }
    }
    note_gone(place);
  }
  log_.pop();
}

void Bus::count_delivered(Port& port, std::uint64_t messages, std::uint64_t bytes) {
  for (PortCounts* counts : {&port.counts, &totals_}) {
    counts->delivered += messages;
    counts->delivered_bytes += bytes;
  }
}

void Bus::count_dropped(Port& port, std::uint64_t messages) {
  port.counts.dropped += messages;
  totals_.dropped += messages;
}

PortCounts Bus::counts(PortId id) const {
  const Port* port = find(id);
  if (port == nullptr) {
    return {};
  }
  PortCounts counts = port->counts;
  counts.lag = lag_of(*port) + port->apart_lag;
  return counts;
}

PortCounts Bus::totals() const {
  PortCounts counts = totals_;
  counts.lag = apart_lag_;
  for (const auto& [id, port] : ports_) {
    counts.lag += lag_of(port);
  }
  return counts;
}

}  // namespace flowfs::bus
