// SPDX-License-Identifier: BSD-3-Clause
#include "fs/mapped_buses.hpp"

#include <fcntl.h>

#include <algorithm>
#include <new>
#include <utility>

#include "fs/bus_file.hpp"
#include "fs/direct_bus.hpp"

namespace flowfs::fs {
namespace {

// Node::file of a node of Kind::bus_memory.
enum Memory : std::uint8_t { tx_memory = 1, log_memory = 2 };

bool is_ethernet(const registry::BusInfo& bus) {
  return bus.settings.policy != registry::BusPolicy::broadcast;
}

}  // namespace

// --- MemberFile
// ------------------------------------------------------------------------------------

void MemberFile::ioctl(Request request, unsigned command, std::span<const std::byte> /*in*/,
                       std::size_t out_size) {
  if (command != FLOWFS_IOC_BUS || out_size < sizeof(flowfs_bus_attach)) {
    replies_.error(request, ENOTTY);
    return;
  }
  if (!transmitter_ || (flags() & O_ACCMODE) != O_RDWR) {
    replies_.error(request, EBADF);
    return;
  }
  const Result<flowfs_bus_attach> answer = mapped_.attach(*transmitter_, node());
  if (!answer) {
    replies_.error(request, errno_for_caller(answer.error().error));
    return;
  }
  owner_.begin();
  fuse_reply_ioctl(request.raw, 0, &*answer, sizeof *answer);
}

void MemberFile::flush(Request request, std::uint64_t lock_owner) {
  if (owner_.is_farewell(lock_owner)) {
    detach();
  }
  replies_.error(request, 0);
}

void MemberFile::detach() {
  if (owner_.end()) {
    mapped_.detach(*transmitter_);
  }
}

// --- MappedBuses
// -----------------------------------------------------------------------------------

MappedBuses::MappedBuses(Loop& loop, registry::Users& users, Buses& buses, MappedEnds& ends,
                         FileTable& files, Replies& replies, Backings& backings)
    : loop_(loop),
      users_(users),
      buses_(buses),
      ends_(ends),
      files_(files),
      replies_(replies),
      backings_(backings),
      sweep_(loop.timer([this] { sweep(); })) {}

std::optional<Node> MappedBuses::tx(bus::PortId port) {
  const registry::Port* const found = buses_.registry().find_port(port);
  if (found == nullptr || is_ethernet(*buses_.registry().find(found->bus))) {
    return std::nullopt;
  }
  auto& member = members_[port];
  if (!member) {
    const auto on_lie = [this](bus::PortId liar) {
      ++lies_;
      outcasts_.push_back(liar);
      sweep_.arm(Clock::now());  // not from inside a call on the bus
    };
    const auto on_silent = [this](bus::PortId silent) {
      silent_.push_back(silent);
      sweep_.arm(Clock::now());
    };
    member =
        std::make_unique<MappedMember>(loop_, buses_, *found, next_serial_++, on_lie, on_silent);
    ports_.emplace(member->serial(), port);
  }
  return Node{Kind::bus_memory, member->serial(), tx_memory};
}

std::optional<Node> MappedBuses::log(registry::BusId bus) const {
  const LiveBus* const live = buses_.find(bus);
  const LogFile* const log = live != nullptr ? live->present_log() : nullptr;
  return log != nullptr ? std::optional(Node{Kind::bus_memory, log->serial(), log_memory})
                        : std::nullopt;
}

std::optional<bus::PortId> MappedBuses::port_of(Node node) const {
  const auto it = ports_.find(node.object);
  return node.file == tx_memory && it != ports_.end() ? std::optional(it->second) : std::nullopt;
}

std::optional<registry::BusId> MappedBuses::bus_of(Node node) const {
  const auto it = logs_.find(node.object);
  const LiveBus* const live =
      node.file == log_memory && it != logs_.end() ? buses_.find(it->second) : nullptr;
  return live != nullptr && live->present_log() != nullptr ? std::optional(it->second)
                                                           : std::nullopt;
}

bool MappedBuses::exists(Node node) const {
  const auto port = port_of(node);
  return (port && buses_.registry().find_port(*port) != nullptr) || bus_of(node).has_value();
}

MappedMember* MappedBuses::find(Node tx) const {
  const auto port = port_of(tx);
  return port ? members_.at(*port).get() : nullptr;
}

LiveBus* MappedBuses::live_of(const MappedMember& member) const {
  const registry::Port* const port = buses_.registry().find_port(member.port());
  return port != nullptr ? buses_.find(port->bus) : nullptr;
}

std::uint64_t MappedBuses::bytes(Node node) const {
  if (const auto bus = bus_of(node)) {
    return buses_.find(*bus)->present_log()->bytes();
  }
  if (const MappedMember* const member = find(node); member != nullptr && member->has_memory()) {
    return member->memory_bytes();
  }
  const registry::Port& port = *buses_.registry().find_port(*port_of(node));
  const registry::BusSettings& settings = buses_.registry().find(port.bus)->settings;
  if (may_be_direct(port)) {
    return log_bytes(settings);
  }
  const auto geometry = MappedMember::geometry(settings, port.rights, hot_ring_bytes_);
  return geometry ? geometry->segment_bytes() : 0;
}

Status MappedBuses::make_memory(MappedMember& member, uid_t payer) {
  if (!backings_.available()) {
    return fail(EOPNOTSUPP, "files of this mount cannot be mapped");
  }
  if (member.has_memory()) {
    return {};
  }
  const registry::Port* const port = buses_.registry().find_port(member.port());
  if (port == nullptr) {
    return fail(ESTALE, "a member that has left");
  }
  const registry::BusSettings& settings = buses_.registry().find(port->bus)->settings;
  const bool direct = may_be_direct(*port);
  const auto geometry = MappedMember::geometry(settings, port->rights, hot_ring_bytes_);
  if (!geometry) {
    return std::unexpected(geometry.error());
  }
  const std::uint64_t bytes = direct ? log_bytes(settings) : geometry->segment_bytes();
  auto charge = users_.charge(payer, registry::Resource::bytes, bytes);
  if (!charge) {
    return std::unexpected(charge.error());
  }
  return direct ? member.make_log(bytes - FLOWFS_LOG_HEADER_BYTES, settings.mtu_bytes, backings_,
                                  std::move(*charge))
                : member.make_segment(*geometry, backings_, std::move(*charge));
}

void MappedBuses::open(Request request, Node node, int flags) {
  int backing = 0;
  if (MappedMember* const member = find(node); member != nullptr) {
    if (const Status made = make_memory(*member, request.uid()); !made) {
      replies_.error(request, errno_for_caller(made.error().error));
      return;
    }
    backing = member->backing();
  } else if (const auto bus = bus_of(node)) {
    // The mode says so too, but root passes over modes.
    if ((flags & O_ACCMODE) != O_RDONLY) {
      replies_.error(request, EACCES);
      return;
    }
    backing = buses_.find(*bus)->present_log()->backing();
  } else {
    replies_.error(request, ESTALE);
    return;
  }
  auto kept = files_.add(std::make_unique<MemberFile>(*this, replies_, node, flags, port_of(node)),
                         request.uid());
  if (!kept) {
    replies_.error(request, kept.error().error);
  } else if (!reply_open_mapped(request, *kept, backing, port_of(node).has_value())) {
    files_.remove(*kept);
  }
}

Result<int> MappedBuses::memory(Node node, bool writable, uid_t by) {
  if (MappedMember* const member = find(node); member != nullptr) {
    const Status made = make_memory(*member, by);
    return made ? Result<int>(member->fd()) : std::unexpected(made.error());
  }
  const auto bus = bus_of(node);
  if (!bus) {
    return fail(ESTALE, "memory of a bus");
  }
  return writable ? fail(EACCES, "log is read-only")
                  : Result<int>(buses_.find(*bus)->present_log()->fd());
}

// --- being mapped ---

Status MappedBuses::make_log(LiveBus& live) {
  if (live.log) {
    return {};
  }
  const registry::BusInfo& bus = *buses_.registry().find(live.id);
  const std::uint64_t ring =
      pool::Log::ring_for(bus.settings.mtu_bytes, bus.settings.depth_bytes + live.data.log_bytes());
  auto charge = users_.charge(bus.payer, registry::Resource::bytes, ring + FLOWFS_LOG_HEADER_BYTES);
  if (!charge) {
    return std::unexpected(charge.error());
  }
  auto log =
      BusLog::make(ring, ++live.log_generation, next_serial_++, backings_, std::move(*charge));
  if (!log) {
    return std::unexpected(log.error());
  }
  try {
    live.data.share(**log);
  } catch (const std::bad_alloc&) {
    return fail(ENOMEM, "log of a bus");
  }
  live.log = std::move(*log);
  live.log->begin_here();
  logs_.emplace(live.log->serial(), live.id);
  buses_.settle(live);
  return {};
}

void MappedBuses::drop_log(LiveBus& live) {
  const bool read = std::ranges::any_of(live.mapped, [this](const auto& one) {
    return buses_.registry().find_port(one.first)->rights.receive;
  });
  if (read) {
    return;
  }
  live.former.reset();
  if (!live.log) {
    return;
  }
  try {
    live.data.unshare();
  } catch (const std::bad_alloc&) {
    return;  // it stays, until the next one leaves
  }
  logs_.erase(live.log->serial());
  live.log.reset();
  buses_.settle(live);
}

// The member whose tx the caller has open, if it may be mapped now.
Result<MappedMember*> MappedBuses::to_be_attached(bus::PortId port, Node tx) {
  const auto it = members_.find(port);
  const registry::Port* const found = buses_.registry().find_port(port);
  if (it == members_.end() || found == nullptr) {
    return fail(ECONNABORTED, "the member has left");
  }
  MappedMember& member = *it->second;
  if (!direct_ || !buses_.find(found->bus)->files.contains(port)) {
    return fail(EOPNOTSUPP, "a member that is not to be mapped");
  }
  if (member.is_attached()) {
    return fail(EBUSY, "mapped already");
  }
  if (member.serial() != tx.object) {
    return fail(EAGAIN, "an old tx");
  }
  if (!fits(member, *found)) {
    ports_.erase(member.serial());
    members_.erase(it);
    return fail(EAGAIN, "the bus has changed");
  }
  return &member;
}

Result<flowfs_bus_attach> MappedBuses::attach(bus::PortId port, Node tx) {
  const auto member = to_be_attached(port, tx);
  if (!member) {
    return std::unexpected(member.error());
  }
  const registry::Port& found = *buses_.registry().find_port(port);
  LiveBus& live = *buses_.find(found.bus);
  const auto statuses = ends_.status_of(found.opener.uid);
  if (!statuses) {
    return std::unexpected(statuses.error());
  }
  if (found.rights.receive && !live.direct) {
    if (const Status made = make_log(live); !made) {
      return std::unexpected(made.error());
    }
  }
  auto answer = (*member)->attach(**statuses);
  if (!answer) {
    drop_log(live);
    return answer;
  }
  if ((*member)->is_direct()) {
    if (const Status begun = begin_direct(live, **member); !begun) {
      (*member)->abandon();
      return std::unexpected(begun.error());
    }
  }
  live.mapped.emplace(port, *member);
  live.files.at(port)->on_mapped();
  buses_.settle(live);
  return answer;
}

void MappedBuses::before_leave(bus::PortId port) {
  const auto it = members_.find(port);
  if (it == members_.end() || !it->second->is_attached()) {
    return;
  }
  it->second->finish();
  if (LiveBus* const live = live_of(*it->second); live != nullptr) {
    live->refresh();
    end_direct(*live, port);
  }
}

void MappedBuses::detach(bus::PortId port) {
  const auto it = members_.find(port);
  if (it == members_.end()) {
    return;
  }
  const std::unique_ptr<MappedMember> member = std::move(it->second);
  const bool mute = member->is_ending();
  members_.erase(it);
  ports_.erase(member->serial());
  LiveBus* const live = live_of(*member);
  member->finish();
  if (live != nullptr) {
    live->refresh();
    end_direct(*live, port);
  }
  member->detach();
  if (live != nullptr) {
    live->mapped.erase(port);
    drop_log(*live);
    buses_.settle(*live);
  }
  ends_.status_given_back();
  if (mute && live != nullptr) {
    end_sending(port);
  }
}

// Of a member that is a file too: it has been asked for, and all that came before it is sent.
void MappedBuses::end_sending(bus::PortId port) {
  // NOLINTNEXTLINE(bugprone-unused-return-value): nothing hinders it
  static_cast<void>(buses_.shut_down(port, {.receive = false, .send = true}));
}

registry::Rights MappedBuses::before_shut_down(bus::PortId port, registry::Rights rights) {
  const auto it = members_.find(port);
  if (it == members_.end() || !it->second->is_attached()) {
    return rights;
  }
  MappedMember& member = *it->second;
  member.live()->refresh();
  rights.send = rights.send && member.stop_sending();
  if (rights.receive) {
    member.stop_receiving();
  }
  return rights;
}

void MappedBuses::shut_down(bus::PortId port) {
  const auto it = members_.find(port);
  if (it == members_.end() || !it->second->is_attached()) {
    return;
  }
  LiveBus& live = *it->second->live();
  it->second->rest();
  ring_readers(live);
  drop_log(live);
  buses_.settle(live);
}

// One that sleeps there learns it from its slot.
void MappedBuses::ring_readers(LiveBus& live) {
  for (LogFile* const log : {live.present_log(), live.former.get()}) {
    if (log != nullptr) {
      log->ring();
    }
  }
}

void MappedBuses::port_gone(bus::PortId port) {
  const auto it = members_.find(port);
  if (it == members_.end()) {
    return;
  }
  MappedMember& member = *it->second;
  const bool attached = member.is_attached();
  LiveBus* const live = member.live();
  if (live != nullptr) {
    end_direct(*live, port);
  }
  member.port_gone();
  if (live != nullptr) {
    ring_readers(*live);
  }
  if (!attached) {
    ports_.erase(member.serial());
    members_.erase(it);
  }
  if (live != nullptr) {
    live->mapped.erase(port);
    drop_log(*live);
    buses_.settle(*live);
  }
}

// What could not be done from inside a call on the bus.
void MappedBuses::sweep() {
  for (const bus::PortId port : std::exchange(silent_, {})) {
    const auto it = members_.find(port);
    if (it != members_.end() && it->second->live() != nullptr) {
      end_sending(port);
    }
  }
  for (const bus::PortId port : std::exchange(outcasts_, {})) {
    if (buses_.registry().find_port(port) != nullptr) {
      buses_.cut_off(port);
    }
  }
}

}  // namespace flowfs::fs
