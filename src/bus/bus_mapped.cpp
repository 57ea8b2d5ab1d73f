// SPDX-License-Identifier: BSD-3-Clause
// Members that read the log by themselves, and the log that they read.
#include <algorithm>
#include <cstring>
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
    give_up_shared();
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

std::uint64_t Bus::map(PortId id, MappedReader& reader) {
  FLOWFS_CHECK(shared_ != nullptr);
  Port& port = *find(id);
  if (std::exchange(port.apart, false)) {
    port.next = log_.end();
  }
  port.mapped = &reader;
  port.consumed = 0;
  port.overtaken = false;
  port.next = std::max(port.next, log_.begin());
  if (port.counts.lag == 0) {
    return shared_->end();
  }
  while (!has_to_read(id, port, port.next, log_.at(port.next))) {
    ++port.next;
  }
  return log_.at(port.next).shared.begin;
}

void Bus::unmap(PortId id, Instant now) {
  Port* port = find(id);
  if (port == nullptr || (port->mapped == nullptr && !port->apart)) {
    return;
  }
  forget_apart(id);
  if (std::exchange(port->apart, false)) {
    port->next = log_.end();
  }
  catch_up(id, *port);
  port->mapped = nullptr;
  if (port->counts.lag > 0) {
    wake(id, *port);
  }
  log_.trim(limits_.history);
  settle(now);
}

void Bus::refresh(Instant now) {
  catch_up_all();
  log_.trim(limits_.history);
  settle(now);
}

void Bus::catch_up(PortId id, Port& port) {
  if (port.mapped == nullptr || port.counts.lag == 0) {
    return;
  }
  const std::uint64_t position = port.mapped->position();
  port.next = std::max(port.next, log_.begin());
  for (; port.counts.lag > 0 && log_.at(port.next).shared.end <= position; ++port.next) {
    const MessageLog::Record& record = log_.at(port.next);
    if (has_to_read(id, port, port.next, record)) {
      count_delivered(port, record.worth);
      log_.read(port.next);
      port.blocks_since = kNever;
    }
  }
}

void Bus::catch_up_all() {
  for (auto& [id, port] : ports_) {
    catch_up(id, port);
  }
}

// Where somebody waits for room, those that have not read everything are what it waits for.
void Bus::await_mapped() {
  if (waiting_.empty() && pollers_ == 0) {
    return;
  }
  for (auto& [id, port] : ports_) {
    if (port.mapped != nullptr && port.counts.lag > 0) {
      port.mapped->await();
    }
  }
}

}  // namespace flowfs::bus
