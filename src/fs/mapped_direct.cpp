// SPDX-License-Identifier: BSD-3-Clause
// Buses that their only sender writes: when the log is its, and when it is the bus's again.
#include <new>
#include <utility>

#include "fs/direct_bus.hpp"
#include "fs/mapped_buses.hpp"
#include "pool/fault_guard.hpp"

namespace flowfs::fs {

std::uint64_t MappedBuses::log_bytes(const registry::BusSettings& settings) {
  return FLOWFS_LOG_HEADER_BYTES + pool::Log::ring_for(settings.mtu_bytes, settings.depth_bytes);
}

// Who sends and receives goes through the bus: it would be the only one to have what it has unread.
bool MappedBuses::may_be_direct(const registry::Port& port) const {
  const registry::BusSettings& settings = buses_.registry().find(port.bus)->settings;
  return settings.policy == registry::BusPolicy::broadcast &&
         settings.delivery == registry::Delivery::lossy && settings.writers == 1 &&
         port.rights.send && !port.rights.receive;
}

// Whether what was made when its tx was opened is right for the bus as it is now.
bool MappedBuses::fits(const MappedMember& member, const registry::Port& port) const {
  const registry::BusSettings& settings = buses_.registry().find(port.bus)->settings;
  return !member.is_direct() || (may_be_direct(port) && settings.mtu_bytes == member.mtu_bytes() &&
                                 log_bytes(settings) <= member.memory_bytes());
}

// Those who read the log of the bus go over to the writer's.
Status MappedBuses::begin_direct(LiveBus& live, MappedMember& writer) {
  std::vector<bus::Bus::Unread> readers;
  std::uint64_t end = 0;
  if (live.log) {
    for (const auto& [port, member] : live.mapped) {
      member->forget_former();
    }
    live.log->show();
    end = live.log->end();
    try {
      readers = live.data.part(Clock::now());
    } catch (const std::bad_alloc&) {
      return fail(ENOMEM, "log of a bus");
    }
    logs_.erase(live.log->serial());
    live.former = std::move(live.log);
  }
  DirectLog& log = writer.log();
  const pool::FaultGuard guard(log.memory().bytes());
  log.memory().set_generation(++live.log_generation);
  logs_.emplace(log.serial(), live.id);
  live.direct = std::make_unique<DirectBus>(loop_, buses_, live, writer, log);
  for (const bus::Bus::Unread& unread : readers) {
    live.mapped.at(unread.port)
        ->read_apart({.generation = log.generation(),
                      .sequence = 0,
                      .messages = unread.messages,
                      .bytes = unread.bytes,
                      .told = {.lost = unread.told_lost, .bytes = unread.told_bytes}},
                     end);
  }
  live.direct->look();
  if (live.former) {
    live.former->ring();
  }
  return {};
}

// What its writer has laid down is counted, and those who read it go on in the log of the bus.
void MappedBuses::end_direct(LiveBus& live, bus::PortId writer) {
  if (!live.direct || live.direct->writer() != writer) {
    return;
  }
  live.direct->look();
  const std::uint64_t end = live.direct->position();
  const std::uint64_t sent = live.direct->sequence();
  live.direct.reset();
  std::unique_ptr<DirectLog> log = live.mapped.extract(writer).mapped()->take_log();
  logs_.erase(log->serial());
  std::vector<MappedMember*> readers;
  for (const auto& [port, member] : live.mapped) {
    readers.push_back(member);
    if (live.former && !member->has_gone_over()) {
      member->forget_former();  // it finds neither of the two any more
    }
  }
  live.former = readers.empty() ? nullptr : std::move(log);
  const Status made = readers.empty() ? Status{} : make_log(live);
  for (MappedMember* const member : readers) {
    if (made) {
      member->read_shared(end, sent);
    } else {
      outcasts_.push_back(member->port());
      sweep_.arm(Clock::now());
    }
  }
  if (live.former) {
    live.former->ring();
  }
  buses_.settle(live);
}

}  // namespace flowfs::fs
