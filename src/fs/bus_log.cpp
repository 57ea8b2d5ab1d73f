// SPDX-License-Identifier: BSD-3-Clause
#include "fs/bus_log.hpp"

#include <new>
#include <utility>

#include "pool/shared.hpp"

namespace flowfs::fs {

Result<std::unique_ptr<BusLog>> BusLog::make(std::uint64_t ring_bytes, std::uint64_t generation,
                                             std::uint64_t serial, Backings& backings,
                                             registry::Charge charge) {
  auto log = pool::Log::create(ring_bytes, generation);
  if (!log) {
    return std::unexpected(log.error());
  }
  std::unique_ptr<BusLog> made(new BusLog(std::move(*log), serial, std::move(charge)));
  if (const Status registered = made->register_at(backings, nullptr); !registered) {
    return std::unexpected(registered.error());
  }
  return made;
}

bus::SharedLog::Extent BusLog::append(bus::PortId from, std::span<const std::byte> message) {
  if (!writer_.has_room(message.size()) || !log_.populate(writer_.reach(message.size()))) {
    throw std::bad_alloc();
  }
  const std::uint64_t sequence = writer_.sequence();
  const std::uint64_t end = writer_.append(message, origin_of(from));
  return {.begin = end - pool::log_cost(message.size()), .end = end, .sequence = sequence};
}

std::span<const std::byte> BusLog::message(std::uint64_t begin, std::size_t length) const {
  const std::uint64_t place = FLOWFS_LOG_HEADER_BYTES + begin % log_.ring_bytes();
  return log_.bytes().subspan(place + sizeof(flowfs_log_record), length);
}

void BusLog::show() {
  if (shown_ != writer_.position()) {
    shown_ = writer_.position();
    writer_.publish();
    writer_.ring();
  }
}

void BusLog::begin_here() {
  // release: before the slots say that there is this log.
  pool::shared(log_.header().first).store(writer_.position(), std::memory_order_release);
}

// Never 0, which is nobody's: a number that comes again after four thousand million joinings.
std::uint32_t BusLog::origin_of(bus::PortId port) {
  return static_cast<std::uint32_t>(std::to_underlying(port) % UINT32_MAX) + 1;
}

}  // namespace flowfs::fs
