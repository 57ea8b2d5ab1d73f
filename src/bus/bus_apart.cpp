// SPDX-License-Identifier: BSD-3-Clause
// A bus whose only sender writes a log of its own, which the mapped members read there.
#include <algorithm>
#include <utility>

#include "base/result.hpp"
#include "bus/bus.hpp"

namespace flowfs::bus {

std::vector<Bus::Unread> Bus::part(Instant now) {
  auto kept = copies();
  std::vector<Unread> all;
  all.reserve(mapped_.size());
  catch_up_all();
  while (!mapped_.empty()) {
    all.push_back(give_over(*mapped_.back(), 0));
  }
  release_mapped();
  keep_copies(std::move(kept));
  log_.trim(limits_.history);
  settle(now);
  return all;
}

Bus::Unread Bus::set_apart(PortId id, std::uint64_t from, Instant now) {
  const Unread unread = give_over(*find(id), from);
  log_.trim(limits_.history);
  settle(now);
  return unread;
}

// What it can read there is not due here any more. Nothing is taken out of the log.
Bus::Unread Bus::give_over(Port& port, std::uint64_t from) {
  Unread unread{
      .port = port.id, .told_lost = port.told_lost + port.forced, .told_bytes = port.told_bytes};
  for (Place place = std::max(port.next, log_.begin()); place < log_.end(); ++place) {
    const MessageLog::Record& record = log_.at(place);
    if (!has_to_read(port, place, record)) {
      continue;
    }
    if (record.shared.end == 0 || record.shared.begin < from) {
      count_dropped(port, record.worth.messages);
    } else {
      if (unread.messages == 0) {
        unread.begin = record.shared.begin;
        unread.sequence = record.shared.sequence;
      }
      unread.messages += record.worth.messages;
      unread.bytes += record.worth.bytes;
    }
    if (port.reader == nullptr) {
      log_.read(place);
    }
  }
  port.counts.lag = 0;
  port.apart = true;
  port.reader = nullptr;
  port.own.clear();
  sort_in(port);
  port.consumed = 0;
  port.overtaken = false;
  port.blocks_since = kNever;
  return unread;
}

void Bus::count_apart(PortId id, const PortCounts& change, Instant now) {
  Port* const port = find(id);
  if (port == nullptr) {
    return;
  }
  const std::uint64_t gone = change.delivered + change.dropped;
  FLOWFS_CHECK(gone <= port->apart_lag + change.lag);
  port->apart_lag += change.lag - gone;
  apart_lag_ += change.lag - gone;
  for (PortCounts* counts : {&port->counts, &totals_}) {
    counts->delivered += change.delivered;
    counts->delivered_bytes += change.delivered_bytes;
    counts->dropped += change.dropped;
  }
  if (change.lag > 0) {
    wake(*port);
    settle(now);
  }
}

void Bus::forget_apart(PortId id) {
  if (Port* const port = find(id); port != nullptr) {
    const std::uint64_t lost = std::exchange(port->apart_lag, 0);
    apart_lag_ -= lost;
    port->counts.dropped += lost;
    totals_.dropped += lost;
  }
}

void Bus::count_sent(PortId from, std::uint64_t messages, std::uint64_t bytes) {
  Port* const sender = find(from);
  for (PortCounts* counts : {sender != nullptr ? &sender->counts : nullptr, &totals_}) {
    if (counts != nullptr) {
      counts->sent += messages;
      counts->sent_bytes += bytes;
    }
  }
}

void Bus::copy(PortId from, std::span<const std::byte> message, SharedLog::Extent extent,
               Instant now) {
  MessageLog::Record record;
  record.sender = from;
  record.shared = extent;
  record.worth.bytes = static_cast<std::uint32_t>(message.size());
  store(std::move(record), message, now);
}

void Bus::miss(PortId from, std::uint64_t messages) {
  for (Port* const port : files_) {
    if (port->id != from) {
      port->counts.dropped += messages;
      totals_.dropped += messages;
    }
  }
}

}  // namespace flowfs::bus
