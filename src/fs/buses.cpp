// SPDX-License-Identifier: BSD-3-Clause
#include "fs/buses.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <new>
#include <utility>

#include "fs/bus_file.hpp"
#include "fs/direct_bus.hpp"
#include "registry/paths.hpp"

namespace flowfs::fs {
namespace {

bool is_ethernet(registry::BusPolicy policy) { return policy != registry::BusPolicy::broadcast; }

bus::PcapngWriter::LinkType link_type_of(registry::BusPolicy policy) {
  return is_ethernet(policy) ? bus::PcapngWriter::LinkType::ethernet
                             : bus::PcapngWriter::LinkType::messages;
}

bus::Limits limits_of(const registry::BusSettings& settings) {
  bus::Limits limits{.lossless = settings.delivery == registry::Delivery::lossless,
                     .mtu_bytes = settings.mtu_bytes,
                     .depth_bytes = settings.depth_bytes,
                     .history = settings.history};
  if (is_ethernet(settings.policy)) {
    limits.mtu_bytes = bus::EthernetBus::kMostMessage;  // it compares frames with the mtu itself
  }
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
        refresh();
        data.tick(Clock::now());
        owner.settle(*this);
      })) {}

LiveBus::~LiveBus() = default;

LogFile* LiveBus::present_log() const {
  if (direct) {
    return &direct->log();
  }
  return log.get();
}

void LiveBus::refresh() {
  if (direct) {
    direct->look();
  }
  bool all_over = true;
  for (const auto& [port, member] : mapped) {
    member->refresh();
    all_over = all_over && (former == nullptr || member->has_gone_over());
  }
  if (all_over) {
    former.reset();
  }
  data.refresh(Clock::now());
}

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
    const registry::BusSettings& settings = registry_.find(*id)->settings;
    const auto made =
        live_.emplace(*id, std::make_unique<LiveBus>(*this, loop_, *id, limits_of(settings)));
    set_policy(*made.first->second, settings);
    publish();
    on_kind(*id);
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
    on_kind(id);
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

Status Buses::set_settings(registry::BusId id, const registry::BusSettings& settings, uid_t by) {
  LiveBus& live = *find(id);
  const LogFile* const log = live.present_log();
  if (log != nullptr &&
      pool::Log::ring_for(settings.mtu_bytes, settings.depth_bytes) > log->ring_bytes()) {
    return fail(EBUSY, "more than the log that is mapped can hold");
  }
  if (live.direct && (settings.writers != 1 || settings.delivery != registry::Delivery::lossy ||
                      settings.mtu_bytes != registry_.find(id)->settings.mtu_bytes)) {
    return fail(EBUSY, "the sender of the bus writes its log by itself");
  }
  const bool other_policy = settings.policy != registry_.find(id)->settings.policy;
  if (const Status status = registry_.set_settings(id, settings, by); !status) {
    return status;
  }
  if (other_policy) {
    live.data.forget_history();  // frames are no messages
    live.captures.set_link_type(link_type_of(settings.policy));
  }
  set_policy(live, settings);
  live.data.set_limits(limits_of(settings), Clock::now());
  settle(live);
  publish();
  on_kind(id);
  return {};
}

// Where it changes the bus has no members, and the old one knew about nobody.
void Buses::set_policy(LiveBus& live, const registry::BusSettings& settings) {
  if (!is_ethernet(settings.policy)) {
    live.ethernet.reset();
    return;
  }
  const bool hub = settings.policy == registry::BusPolicy::ethernet_hub;
  const auto kind = hub ? bus::EthernetBus::Kind::hub : bus::EthernetBus::Kind::learning_switch;
  if (live.ethernet == nullptr || live.ethernet->kind() != kind) {
    live.ethernet = std::make_unique<bus::EthernetBus>(kind, settings.mtu_bytes);
  }
  live.ethernet->set_most_bytes(settings.mtu_bytes);
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

void Buses::open_pcap(Request request, Node node, int flags, registry::BusId id) {
  auto kept = users_.charge(request.uid(), registry::Resource::bytes, PcapFile::kMostBytes);
  auto descriptor = files_.reserve(request.uid());
  if (!kept || !descriptor) {
    replies_.error(request, (kept ? descriptor.error() : kept.error()).error);
    return;
  }
  LiveBus& live = *find(id);
  if (live.direct) {
    live.direct->look();  // it shows what is sent from now on
  }
  const auto type = link_type_of(registry_.find(id)->settings.policy);
  File* const file = files_.add(std::make_unique<PcapFile>(live.captures, parking_, replies_, node,
                                                           flags, type, std::move(*kept)),
                                std::move(*descriptor));
  settle(live);
  if (!reply_open(request, file, OpenMode::stream)) {
    files_.remove(file);
  }
}

Result<bus::PortId> Buses::join(registry::BusId id, bus::Member& member, registry::Opener who,
                                registry::Rights rights, bus::EthernetBus::Frames frames) {
  const auto port = registry_.join(id, who, rights, Clock::now());
  if (port) {
    const bus::PortNumber number = registry_.find_port(*port)->number;
    LiveBus& live = *find(id);
    if (live.ethernet) {
      live.ethernet->join(number, frames);
    }
    if (live.direct) {
      live.direct->look();  // it gets what is sent from now on
    }
    live.data.join(*port, number, member, {.receive = rights.receive, .send = rights.send});
    settle(live);
    publish();
  }
  return port;
}

void Buses::leave(bus::PortId port) {
  const registry::Port* state = registry_.find_port(port);
  if (state != nullptr) {
    LiveBus& live = *find(state->bus);
    before_leave(port);
    forget_port(*state);
    registry_.leave(port);
    live.data.leave(port, Clock::now());
    settle(live);
    publish();
    on_port_gone(port);
  }
}

Status Buses::shut_down(bus::PortId port, registry::Rights rights) {
  const registry::Port* const state = registry_.find_port(port);
  if (state == nullptr) {
    return fail(ENOTCONN, "the member has left");
  }
  LiveBus& live = *find(state->bus);
  const auto file = live.files.find(port);
  if (file == live.files.end()) {
    return fail(EOPNOTSUPP, "a member that is no open file");
  }
  BusFile& member = *file->second;
  rights = before_shut_down(port, rights);
  const registry::Rights left{.receive = state->rights.receive && !rights.receive,
                              .send = state->rights.send && !rights.send};
  if (!left.receive && !left.send) {
    leave(port);
  } else {
    registry_.shut_down(port, rights);
    live.data.give_up(port, {.receive = left.receive, .send = left.send}, Clock::now());
    settle(live);
    publish();
    on_shut_down(port);
  }
  member.on_shut_down(left);
  return {};
}

void Buses::forget_port(const registry::Port& port) {
  LiveBus& live = *find(port.bus);
  live.names.erase(port.id);
  live.files.erase(port.id);
  if (live.ethernet) {
    live.ethernet->leave(port.number);
  }
}

void Buses::on_cut_off(bus::PortId port) {
  forget_port(*registry_.find_port(port));
  registry_.leave(port, true);
  publish();
  on_port_gone(port);
}

void Buses::cut_off(bus::PortId port) {
  LiveBus& live = *find(registry_.find_port(port)->bus);
  live.data.cut_off(port, Clock::now());
  settle(live);
}

int Buses::send(LiveBus& live, bus::PortId from, std::span<const std::byte> message) {
  // A shared log is charged already.
  const std::size_t cost = live.log ? 0 : bus::MessageLog::cost(message.size());
  if (cost > 0) {
    const uid_t payer = registry_.find(live.id)->payer;
    if (const Status charge = users_.add(payer, registry::Resource::bytes, cost); !charge) {
      return charge.error().error;
    }
    live.charged_bytes += cost;
  }
  bus::SendOutcome outcome{};
  try {
    outcome = pass_on(live, from, message);
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

bus::SendOutcome Buses::pass_on(LiveBus& live, bus::PortId from,
                                std::span<const std::byte> message) {
  const bus::PortNumber number = registry_.find_port(from)->number;
  const Instant now = live.batches > 0 ? live.batch_began : Clock::now();
  bus::EthernetBus::Sent sent;
  if (live.ethernet) {
    sent = live.ethernet->send(live.data, from, number, message, now);
  } else {
    sent.outcome = live.data.send(from, message, now);
  }
  if (sent.outcome == bus::SendOutcome::ok && live.captures.wanted()) {
    live.captures.add(number, live.ethernet ? live.ethernet->frame_of(number, message) : message);
  }
  if (sent.newly_shut) {
    publish_here(live, registry::EventKind::bus_shut, registry_.find(live.id)->owner,
                 fmt::format("port={} reason=loop", std::to_underlying(*sent.newly_shut)));
  }
  return sent.outcome;
}

void Buses::publish_link(LiveBus& live, bus::PortId port, uid_t uid, std::string_view name,
                         std::string_view state) {
  const registry::Port* const found = registry_.find_port(port);
  publish_here(live, registry::EventKind::bus_link, uid,
               fmt::format("port={} name={} state={}",
                           found != nullptr ? std::to_underlying(found->number) : 0, name, state));
}

void Buses::publish_here(LiveBus& live, registry::EventKind kind, uid_t uid, std::string detail) {
  registry::Event event;
  event.kind = kind;
  event.object = registry::path_of_bus(registry_.find(live.id)->name);
  event.uid = uid;
  event.detail = std::move(detail);
  live.events.publish(event);
}

void Buses::copy(LiveBus& live, bus::PortId from, std::span<const std::byte> message,
                 bus::SharedLog::Extent extent) {
  const registry::Port* const port = registry_.find_port(from);
  if (live.captures.wanted() && port != nullptr) {
    live.captures.add(port->number, message);
  }
  const std::size_t cost = bus::MessageLog::cost(message.size());
  if (!users_.add(registry_.find(live.id)->payer, registry::Resource::bytes, cost)) {
    live.data.miss(from, 1);
    return;
  }
  live.charged_bytes += cost;
  try {
    live.data.copy(from, message, extent, Clock::now());
  } catch (const std::bad_alloc&) {
    live.data.miss(from, 1);
  }
  settle(live);
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

// What its messages hold beside a shared log.
void Buses::charge(LiveBus& live) {
  const std::uint64_t held = live.data.is_shared() ? 0 : live.data.log_bytes();
  if (held == live.charged_bytes) {
    return;
  }
  const uid_t payer = registry_.find(live.id)->payer;
  if (held < live.charged_bytes) {
    users_.subtract(payer, registry::Resource::bytes, live.charged_bytes - held);
  } else {
    users_.add_unchecked(payer, registry::Resource::bytes, held - live.charged_bytes);
  }
  live.charged_bytes = held;
}

void Buses::settle(LiveBus& live) {
  charge(live);
  if (live.log && live.batches == 0) {
    live.log->show();
  }
  if (live.direct) {
    live.direct->review();
  }
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
