// SPDX-License-Identifier: BSD-3-Clause
#include "fs/buses.hpp"

#include <fcntl.h>

#include <new>
#include <utility>

#include "fs/bus_file.hpp"

namespace flowfs::fs {
namespace {

bus::Limits limits_of(const registry::BusSettings& settings) {
  bus::Limits limits{.lossless = settings.delivery == registry::Delivery::lossless,
                     .mtu_bytes = settings.mtu_bytes,
                     .depth_bytes = settings.depth_bytes,
                     .history = settings.history};
  if (settings.evict_us != registry::kUnlimited) {
    limits.evict = Micros(static_cast<std::int64_t>(settings.evict_us));
  }
  return limits;
}

registry::Rights rights_of(int flags) {
  const int access = flags & O_ACCMODE;
  return {.receive = access != O_WRONLY, .send = access != O_RDONLY};
}

}  // namespace

LiveBus::LiveBus(Buses& owner, Loop& loop, registry::BusId bus_id, bus::Limits limits)
    : id(bus_id), data(limits), timer(loop.timer([this, &owner] {
        data.tick(Clock::now());
        owner.settle(*this);
      })) {}

Buses::Buses(Loop& loop, registry::Users& users, Parking& parking, FileTable& files,
             EventLog& events, Replies& replies)
    : loop_(loop),
      users_(users),
      parking_(parking),
      files_(files),
      events_(events),
      replies_(replies),
      registry_(users) {}

LiveBus* Buses::find(registry::BusId id) const {
  const auto it = live_.find(id);
  return it == live_.end() ? nullptr : it->second.get();
}

Result<registry::BusId> Buses::create(std::string_view name, registry::Opener who,
                                      const registry::BusSettings& settings) {
  return made(registry_.create(name, who, settings));
}

Result<registry::BusId> Buses::declare(std::string_view name, uid_t owner,
                                       const registry::BusSettings& settings) {
  return made(registry_.declare(name, owner, settings));
}

Result<registry::BusId> Buses::made(Result<registry::BusId> id) {
  if (id) {
    const bus::Limits limits = limits_of(registry_.find(*id)->settings);
    live_.emplace(*id, std::make_unique<LiveBus>(*this, loop_, *id, limits));
    publish();
  }
  return id;
}

Status Buses::remove(std::string_view name, uid_t by) {
  const registry::BusInfo* found = registry_.find(name);
  const registry::BusId id = found != nullptr ? found->id : registry::BusId{};
  const uid_t payer = found != nullptr ? found->payer : 0;
  const Status status = registry_.remove(name, by);
  if (status) {
    users_.subtract(payer, registry::Resource::bytes, find(id)->charged_bytes);
    live_.erase(id);
    publish();
  }
  return status;
}

Status Buses::rename(std::string_view from, std::string_view to, uid_t by) {
  const Status status = registry_.rename(from, to, by);
  publish();
  return status;
}

Status Buses::exchange(std::string_view one, std::string_view two, uid_t by) {
  const Status status = registry_.exchange(one, two, by);
  publish();
  return status;
}

Status Buses::set_settings(registry::BusId id, const registry::BusSettings& settings) {
  if (const Status status = registry_.set_settings(id, settings); !status) {
    return status;
  }
  LiveBus& live = *find(id);
  live.data.set_limits(limits_of(settings), Clock::now());
  settle(live);
  return {};
}

void Buses::open_bus(Request request, Node node, int flags, registry::BusId id) {
  auto descriptor = files_.reserve(request.uid());
  if (!descriptor) {
    replies_.error(request, descriptor.error().error);
    return;
  }
  auto made = std::make_unique<BusFile>(*this, parking_, replies_, node, flags);
  BusFile& file = *made;
  if (const Status status = file.join(*find(id), request.opener(), rights_of(flags)); !status) {
    replies_.status(request, status);
    return;
  }
  files_.add(std::move(made), std::move(*descriptor));
  if (!reply_open(request, &file, OpenMode::message)) {
    files_.remove(&file);
  }
}

void Buses::open_events(Request request, Node node, int flags, registry::BusId id) {
  auto file =
      files_.add(std::make_unique<EventFile>(find(id)->events, parking_, replies_, node, flags),
                 request.uid());
  if (!file) {
    replies_.error(request, file.error().error);
  } else if (!reply_open(request, *file, OpenMode::stream)) {
    files_.remove(*file);
  }
}

Result<bus::PortId> Buses::join(registry::BusId id, bus::Member& member, registry::Opener who,
                                registry::Rights rights) {
  const auto port = registry_.join(id, who, rights, Clock::now());
  if (port) {
    const bus::PortNumber number = registry_.find_port(*port)->number;
    find(id)->data.join(*port, number, member, {.receive = rights.receive, .send = rights.send});
    publish();
  }
  return port;
}

void Buses::leave(bus::PortId port) {
  const registry::Port* state = registry_.find_port(port);
  if (state != nullptr) {
    LiveBus& live = *find(state->bus);
    registry_.leave(port);
    live.data.leave(port, Clock::now());
    settle(live);
    publish();
    on_port_gone(port);
  }
}

void Buses::on_cut_off(bus::PortId port) {
  registry_.leave(port, true);
  publish();
  on_port_gone(port);
}

int Buses::send(LiveBus& live, bus::PortId from, std::span<const std::byte> message) {
  const std::size_t cost = bus::MessageLog::cost(message.size());
  const uid_t payer = registry_.find(live.id)->payer;
  if (const Status charge = users_.add(payer, registry::Resource::bytes, cost); !charge) {
    return charge.error().error;
  }
  live.charged_bytes += cost;
  bus::SendOutcome outcome{};
  try {
    outcome = live.data.send(from, message, Clock::now());
  } catch (const std::bad_alloc&) {
    settle(live);
    return ENOMEM;
  }
  settle(live);
  switch (outcome) {
    case bus::SendOutcome::ok:
      return 0;
    case bus::SendOutcome::full:
      return EAGAIN;
    case bus::SendOutcome::too_long:
      break;
  }
  return EMSGSIZE;
}

int Buses::send_parked(LiveBus& live, bus::PortId from, Parked& parked) {
  const std::uint64_t bytes = parked.bytes.amount();
  parked.bytes.reset();  // the log charges what it takes
  const int error = send(live, from, parked.data);
  if (error == EAGAIN) {
    parked.bytes =  // given back a moment ago; whoever took it meanwhile, it is still here
        users_.charge_unchecked(parked.request.uid(), registry::Resource::bytes, bytes);
  }
  return error;
}

void Buses::settle(LiveBus& live) {
  const std::uint64_t held = live.data.log_bytes();
  const uid_t payer = registry_.find(live.id)->payer;
  if (held < live.charged_bytes) {
    users_.subtract(payer, registry::Resource::bytes, live.charged_bytes - held);
  } else {
    users_.add_unchecked(payer, registry::Resource::bytes, held - live.charged_bytes);
  }
  live.charged_bytes = held;
  const Instant deadline = live.data.next_deadline();
  if (deadline != live.timer.deadline()) {
    live.timer.arm(deadline);
  }
}

void Buses::publish() {
  for (const registry::Buses::BusEvent& one : registry_.take_events()) {
    if (one.everywhere) {
      events_.publish(one.event);
    } else if (LiveBus* live = find(one.bus); live != nullptr) {
      live->events.publish(one.event);
    }
  }
}

}  // namespace flowfs::fs
