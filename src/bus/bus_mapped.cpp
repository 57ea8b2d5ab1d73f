// SPDX-License-Identifier: BSD-3-Clause
// Members that read the log by themselves, and the log that they read.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "bus/bus.hpp"

namespace flowfs::bus {
namespace {

std::unique_ptr<std::byte[]> copy_of(std::span<const std::byte> message) {
  auto bytes = std::make_unique_for_overwrite<std::byte[]>(message.size());
  std::memcpy(bytes.get(), message.data(), message.size());
  return bytes;
}

}  // namespace

std::span<const std::byte> Bus::payload_of(const MessageLog::Record& record) const {
  if (record.bytes == nullptr) {
    return shared_->message(record.shared.begin, record.length);
  }
  return {record.bytes.get(), record.length};
}

void Bus::lay_down(MessageLog::Record& record, std::span<const std::byte> message) {
  record.length = static_cast<std::uint32_t>(message.size());
  if (shared_ != nullptr) {
    if (!shared_->has_room(message.size())) {
      give_up_shared();
    }
    record.shared = shared_->append(record.sender, message);
  } else {
    record.bytes = copy_of(message);
  }
}

// What the log of records does not hold, the shared one need not.
void Bus::give_up_shared() {
  if (shared_ != nullptr) {
    shared_->give_up_to(log_.empty() ? shared_->end() : log_.at(log_.begin()).shared.begin);
  }
}

void Bus::share(SharedLog& log) {
  FLOWFS_CHECK(shared_ == nullptr);
  gone_.reserve(kMostGone);
  gone_.clear();
  log_.forget_dropped();
  for (Place place = log_.begin(); place < log_.end(); ++place) {
    MessageLog::Record& record = log_.at(place);
    record.shared = log.append(record.sender, payload_of(record));
  }
  for (Place place = log_.begin(); place < log_.end(); ++place) {
    log_.at(place).bytes.reset();
  }
  shared_ = &log;
}

void Bus::unshare() { keep_copies(copies()); }

std::vector<std::unique_ptr<std::byte[]>> Bus::copies() const {
  std::vector<std::unique_ptr<std::byte[]>> made;
  for (Place place = log_.begin(); place < log_.end(); ++place) {
    made.push_back(copy_of(payload_of(log_.at(place))));
  }
  return made;
}

void Bus::keep_copies(std::vector<std::unique_ptr<std::byte[]>> copies) {
  for (Place place = log_.begin(); place < log_.end(); ++place) {
    MessageLog::Record& record = log_.at(place);
    record.bytes = std::move(copies[place - log_.begin()]);
    record.shared = {};
  }
  shared_ = nullptr;
}

// What it has still to read was sent to all, and so is all that follows: from now on it is counted
// by its place.
Bus::Start Bus::map(PortId id, MappedReader& reader) {
  FLOWFS_CHECK(shared_ != nullptr);
  Port& port = *find(id);
  if (std::exchange(port.apart, false) || port.counts.lag == 0) {
    port.next = log_.end();
  }
  port.next = std::max(port.next, log_.begin());
  while (port.next < log_.end() && !has_to_read(port, port.next, log_.at(port.next))) {
    ++port.next;
  }
  if (mapped_.empty()) {
    mapped_next_ = log_.end();
  }
  for (Place place = port.next; place < mapped_next_; ++place) {
    log_.read_again(place);
  }
  mapped_next_ = std::min(mapped_next_, port.next);
  port.bytes_from = pushed_bytes_;
  for (Place place = port.next; place < log_.end(); ++place) {
    if (has_to_read(port, place, log_.at(place))) {
      port.bytes_from -= log_.at(place).length;
      log_.read(place);
    } else {
      port.own.push_back(place);
    }
  }
  port.reader = &reader;
  port.consumed = 0;
  port.overtaken = false;
  port.counts.lag = 0;
  port.at = port.next;
  port.forced = port.told_lost = port.told_bytes = 0;
  sort_in(port);
  if (port.next == log_.end()) {
    return {.position = shared_->end(), .sequence = shared_->sequence()};
  }
  const SharedLog::Extent& first = log_.at(port.next).shared;
  return {.position = first.begin, .sequence = first.sequence};
}

void Bus::unmap(PortId id, Instant now) {
  Port* port = find(id);
  if (port == nullptr || (port->reader == nullptr && !port->apart)) {
    return;
  }
  forget_apart(id);
  if (std::exchange(port->apart, false)) {
    port->next = log_.end();
  }
  catch_up(*port);
  for (Place place = port->next; place < log_.end(); ++place) {
    if (has_to_read(*port, place, log_.at(place))) {
      log_.read_again(place);
      port->counts.lag += log_.at(place).worth.messages;
    }
  }
  port->own.clear();
  port->reader = nullptr;
  sort_in(*port);
  release_mapped();
  if (port->counts.lag > 0) {
    wake(*port);
  }
  log_.trim(limits_.history);
  settle(now);
}

void Bus::await_message(PortId id) {
  Port* const port = find(id);
  if (port != nullptr && port->reader != nullptr && !std::exchange(port->awaits_message, true)) {
    listeners_.push_back(port);
  }
}

void Bus::wake_listeners(const Port* but) {
  std::erase_if(listeners_, [&](Port* port) {
    if (port == but) {
      return false;
    }
    port->awaits_message = false;
    wake(*port);
    return true;
  });
}

void Bus::refresh(Instant now) {
  catch_up_all();
  log_.trim(limits_.history);
  settle(now);
}

void Bus::has_read(Instant now) {
  while (catch_up_slowest()) {
  }
  log_.trim(limits_.history);
  settle(now);
}

// --- how far they have come

// The first place that a reader at `position` has not passed, where that is behind `from` and
// behind what is not remembered any more.
std::optional<Bus::Place> Bus::place_behind(std::uint64_t position, Place from) const {
  const bool remembers = gone_first_ + gone_.size() == log_.begin();
  Place place = std::max(from, remembers ? gone_first_ : log_.begin());
  const Place start = place;
  if (place < log_.begin() && position < log_.dropped_to()) {
    const auto first = gone_.begin() + static_cast<std::ptrdiff_t>(place - gone_first_);
    place += static_cast<Place>(std::upper_bound(first, gone_.end(), position) - first);
    return place > start ? std::optional(place) : std::nullopt;
  }
  if (position < log_.dropped_to()) {
    return std::nullopt;
  }
  place = std::max(place, log_.begin());
  for (Place end = log_.end(); place < end;) {
    const Place middle = place + (end - place) / 2;
    if (log_.at(middle).shared.end <= position) {
      place = middle + 1;
    } else {
      end = middle;
    }
  }
  return place > from ? std::optional(place) : std::nullopt;
}

// What lies before `place` it has not to read any more. How many messages of others that were.
std::uint64_t Bus::take_up_to(Port& port, Place place) {
  const auto behind = std::ranges::lower_bound(port.own, place);
  const auto own = static_cast<std::uint64_t>(behind - port.own.begin());
  const std::uint64_t messages = place - port.next - own;
  port.next = place;
  auto rest = behind;
  for (; rest != port.own.end() && *rest == port.next; ++rest) {
    ++port.next;  // nothing to it
  }
  port.own.erase(port.own.begin(), rest);
  return messages;
}

void Bus::catch_up(Port& port) {
  if (port.reader == nullptr) {
    return;
  }
  const MappedReader::Said said = port.reader->said();
  if (const auto reached = place_behind(said.position, port.at); reached) {
    port.at = *reached;
    count_passed(port, said.lost);
  }
  count_bytes(port, said.bytes);
  if (port.next < log_.begin()) {
    count_dropped(port, take_up_to(port, log_.begin()));
    port.blocks_since = kNever;
  }
  port.forced = std::max(log_.begin(), port.at) - port.at;
}

// What it lost, as it says, is in part what was dropped for it before. It may say more than is new:
// that belongs to what it passes next, or was its own, which it does not see where it is overtaken.
void Bus::count_passed(Port& port, std::uint64_t lost) {
  const Place from = port.next;
  const std::uint64_t messages = port.at > from ? take_up_to(port, port.at) : 0;
  const std::uint64_t own = std::max(port.at, from) - from - messages;
  const std::uint64_t more = std::max(lost, port.told_lost) - port.told_lost;
  const std::uint64_t known = std::min(more, port.forced);
  const std::uint64_t dropped = std::min(more - known, messages);
  port.told_lost += known + dropped + std::min(more - known - dropped, own);
  count_dropped(port, dropped);
  count_delivered(port, messages - dropped, 0);
  port.blocks_since = messages > 0 ? kNever : port.blocks_since;
}

// It cannot have read more than was sent since then.
void Bus::count_bytes(Port& port, std::uint64_t said) {
  const std::uint64_t bytes = std::min(said, pushed_bytes_ - port.bytes_from);
  count_delivered(port, 0, std::max(bytes, port.told_bytes) - port.told_bytes);
  port.told_bytes = std::max(bytes, port.told_bytes);
}

void Bus::catch_up_all() {
  for (Port* const port : mapped_) {
    catch_up(*port);
  }
  gone_.clear();
  release_mapped();
}

Bus::Port* Bus::slowest() const {
  const auto found = std::ranges::min_element(mapped_, {}, &Port::next);
  return found == mapped_.end() ? nullptr : *found;
}

// Whether it has come further, and what it holds back is less.
bool Bus::catch_up_slowest() {
  Port* const port = slowest();
  if (port == nullptr || port->next > log_.settled_end()) {
    return false;  // somebody else holds it back
  }
  const Place before = port->next;
  catch_up(*port);
  release_mapped();
  return port->next > before;
}

// What all of them are known to have passed they do not hold back.
void Bus::release_mapped() {
  const Port* const last = slowest();
  const Place end = last != nullptr ? last->next : log_.end();
  for (mapped_next_ = std::max(mapped_next_, log_.begin()); mapped_next_ < end; ++mapped_next_) {
    log_.read(mapped_next_);
  }
  if (last == nullptr) {
    mapped_next_ = kNoPlace;
  }
}

void Bus::make_room(std::size_t bytes) {
  while (!has_room(bytes) && catch_up_slowest()) {
  }
}

// The first record is about to be forgotten. Who had passed it is found out later, for many at
// once.
void Bus::note_gone(Place place) {
  if (mapped_.empty() || place < mapped_next_) {
    return;
  }
  if (gone_.size() == kMostGone) {
    catch_up_all();
  }
  if (gone_first_ + gone_.size() != place) {
    gone_.clear();  // all had passed what is not in it
    gone_first_ = place;
  }
  gone_.push_back(log_.at(place).shared.end);
}

// Where somebody waits for room, it waits for the slowest, and then for who is slowest then.
void Bus::await_mapped() {
  if (waiting_.empty() && pollers_ == 0) {
    return;
  }
  const Port* const port = slowest();
  if (port != nullptr && port->next <= log_.settled_end() && lag_of(*port) > 0) {
    port->reader->await();
  }
}

}  // namespace flowfs::bus
