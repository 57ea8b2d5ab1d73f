// SPDX-License-Identifier: BSD-3-Clause
#include "fs/buses_folder.hpp"

#include <fmt/format.h>

#include "fs/attributes.hpp"
#include "fs/bus_values.hpp"

namespace flowfs::fs {
namespace {

constexpr FileSpec kFiles[] = {
    {"", FileType::directory, 0755},        {"bus", FileType::message, 0700},
    {"policy", FileType::attribute, 0644},  {"delivery", FileType::attribute, 0644},
    {"mtu", FileType::attribute, 0644},     {"depth", FileType::attribute, 0644},
    {"history", FileType::attribute, 0644}, {"writers", FileType::attribute, 0644},
    {"ports", FileType::attribute, 0644},   {"evict", FileType::attribute, 0644},
    {"log", FileType::mapped, 0400},        {"events", FileType::stream, 0400},
    {"pcap", FileType::stream, 0400},       {"members", FileType::attribute, 0444},
    {"stats", FileType::attribute, 0444},   {"port", FileType::directory, 0555},
    {"macs", FileType::attribute, 0444},    {"tap", FileType::directory, 0755},
    {"grab", FileType::directory, 0755},    {"vde", FileType::symlink, 0777},
};

// The files of buses/BUS/port/N, whose place in the table is Node::file.
constexpr FileSpec kPortFiles[] = {
    {"", FileType::directory, 0555},     {"stats", FileType::attribute, 0400},
    {"name", FileType::attribute, 0644}, {"vlan", FileType::attribute, 0644},
    {"ctl", FileType::attribute, 0200},  {"tx", FileType::mapped, 0600},
};

registry::BusId id_of(Node node) { return registry::BusId{node.object}; }

bus::PortId port_of(Node node) { return bus::PortId{node.object}; }

Node node_of(registry::BusId id, std::uint8_t file = 0) {
  return {Kind::bus, static_cast<std::uint64_t>(id), file};
}

Node node_of(bus::PortId id) { return {Kind::port, static_cast<std::uint64_t>(id), 0}; }

// What a class that may do `rights` with `bus` may do with an attribute, or with a stream. Whoever
// may manage may write an attribute, and everybody may read it; who may receive sees the streams.
std::uint16_t derived_rights(std::uint8_t file, unsigned rights) {
  if (file == log_file || file == events || file == pcap) {
    return rights & 4U;
  }
  return (rights & 1U) != 0 ? 6 : 4;
}

}  // namespace

BusesFolder::BusesFolder(Buses& buses, MappedBuses& mapped, MetaStore& metas, Replies& replies)
    : buses_(buses),
      mapped_(mapped),
      metas_(metas),
      replies_(replies),
      mounted_(wall_clock_now()),
      start_(Clock::now()),
      changed_(mounted_) {}

void BusesFolder::born(registry::BusId id, uid_t uid, gid_t gid, mode_t mode) {
  changed_ = wall_clock_now();
  births_.insert_or_assign(id, Birth{uid, gid, mode, changed_});
}

Status BusesFolder::declare(const DeclaredBus& declared) {
  if (const registry::BusInfo* made = buses_.registry().find(declared.name); made != nullptr) {
    const auto before = declared_.find(made->id);
    if (before == declared_.end() || before->second == declared.settings) {
      return {};
    }
    const Status status = buses_.set_settings(made->id, declared.settings, 0);
    if (status) {
      before->second = declared.settings;
    }
    return status;
  }
  const auto id = buses_.declare(declared.name, declared.uid, declared.settings);
  if (!id) {
    return std::unexpected(id.error());
  }
  born(*id, declared.uid, declared.gid, declared.mode);
  declared_.emplace(*id, declared.settings);
  if (declared.bus_mode) {
    const Node node = node_of(*id, bus_file);
    Meta meta = defaults(node);
    meta.mode = *declared.bus_mode;
    metas_.set(node, std::move(meta), {});  // of the configuration: charged to nobody
  }
  return {};
}

bool BusesFolder::exists(Node node) const {
  switch (node.kind) {
    case Kind::buses:
      return node.file == directory;
    case Kind::bus:
      return node.file < std::size(kFiles) && births_.contains(id_of(node)) &&
             (node.file != vde || !buses_.find(id_of(node))->vde.empty());
    case Kind::port:
      return node.file < std::size(kPortFiles) &&
             buses_.registry().find_port(port_of(node)) != nullptr;
    case Kind::bus_memory:
      return mapped_.exists(node);
    default:
      return false;
  }
}

Node BusesFolder::lasting(Node node) const {
  if (node.kind != Kind::bus_memory) {
    return node;
  }
  if (const auto bus = mapped_.bus_of(node)) {
    return node_of(*bus, log_file);
  }
  return {Kind::port, static_cast<std::uint64_t>(*mapped_.port_of(node)), port_tx};
}

std::optional<Node> BusesFolder::present(std::optional<Node> file) const {
  if (file && file->kind == Kind::bus && file->file == log_file) {
    const auto log = mapped_.log(id_of(*file));
    return log ? log : file;
  }
  if (file && file->kind == Kind::port && file->file == port_tx) {
    const auto tx = mapped_.tx(port_of(*file));
    return tx ? tx : file;
  }
  return file;
}

std::uint64_t BusesFolder::mapped_size(Node node) const {
  return node.kind == Kind::bus_memory ? mapped_.bytes(node) : 0;
}

Result<int> BusesFolder::memory(Node file, bool writable, uid_t by) {
  return file.kind == Kind::bus_memory ? mapped_.memory(file, writable, by)
                                       : fail(ENOTCONN, "a bus without mapped members");
}

FileType BusesFolder::type(Node node) const {
  switch (node.kind) {
    case Kind::bus:
      return kFiles[node.file].type;
    case Kind::port:
      return kPortFiles[node.file].type;
    case Kind::bus_memory:
      return FileType::mapped;
    default:
      return FileType::directory;
  }
}

bool BusesFolder::is_derived(Node node) const {
  node = lasting(node);
  return (node.kind == Kind::bus && node.file >= policy && node.file <= pcap) ||
         (node.kind == Kind::port && node.file == port_vlan);
}

std::vector<Node> BusesFolder::derived_from(Node node) const {
  std::vector<Node> nodes;
  if (node.kind == Kind::bus && node.file == bus_file) {
    for (std::uint8_t file = policy; file <= pcap; ++file) {
      nodes.push_back(node_of(id_of(node), file));
    }
    for (const auto& [number, id] : buses_.registry().find(id_of(node))->ports) {
      nodes.push_back({Kind::port, static_cast<std::uint64_t>(id), port_vlan});
    }
  }
  return nodes;
}

Meta BusesFolder::defaults(Node node) const {
  if (node.kind == Kind::buses) {
    return {
        .mode = 01777, .acl = {}, .access = mounted_, .modified = changed_, .changed = changed_};
  }
  node = lasting(node);
  if (is_derived(node)) {
    return derived_meta(node);
  }
  if (node.kind == Kind::port) {
    return port_meta(node);
  }
  const Birth& birth = births_.at(id_of(node));
  mode_t mode = kFiles[node.file].mode;
  if (node.file == directory) {
    mode = birth.mode;
  } else if (node.file == bus_file) {
    mode = birth.entrance_mode(0700);
  }
  return birth.meta(mode);
}

Meta BusesFolder::derived_meta(Node node) const {
  const bool of_port = node.kind == Kind::port;
  const registry::BusId id =
      of_port ? buses_.registry().find_port(port_of(node))->bus : id_of(node);
  const Node origin = node_of(id, bus_file);
  const Meta* changed = metas_.find(origin);
  Meta meta = changed != nullptr ? *changed : defaults(origin);
  const mode_t from = meta.mode;
  const std::uint8_t rule = of_port ? std::uint8_t{policy} : node.file;
  meta.mode = 0;
  for (const unsigned shift : {6U, 3U, 0U}) {
    meta.mode |= static_cast<mode_t>(derived_rights(rule, from >> shift & 7U)) << shift;
  }
  for (AclEntry& entry : meta.acl) {
    entry.perm = derived_rights(rule, entry.perm);
  }
  return meta;
}

Meta BusesFolder::port_meta(Node node) const {
  const registry::Port& port = *buses_.registry().find_port(port_of(node));
  const auto age = std::chrono::duration_cast<std::chrono::nanoseconds>(port.since - start_);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(age);
  timespec joined{.tv_sec = mounted_.tv_sec + seconds.count(),
                  .tv_nsec = mounted_.tv_nsec + (age - seconds).count()};
  constexpr long kSecond = 1'000'000'000;
  joined.tv_sec += joined.tv_nsec / kSecond;
  joined.tv_nsec %= kSecond;
  return {.mode = kPortFiles[node.file].mode,
          .uid = port.opener.uid,
          .gid = port.opener.gid,
          .acl = {},
          .access = joined,
          .modified = joined,
          .changed = joined};
}

std::optional<Node> BusesFolder::child(Node parent, std::string_view name) {
  if (parent.kind == Kind::port) {
    return present(find_file(kPortFiles, parent, name));
  }
  if (parent.kind == Kind::bus && parent.file == directory) {
    return present(existing(find_file(kFiles, parent, name)));
  }
  if (parent.kind == Kind::bus) {
    const auto number = number_named(name, 1, registry::kMostPorts);
    const auto& taken = buses_.registry().find(id_of(parent))->ports;
    const auto port =
        number ? taken.find(bus::PortNumber{static_cast<std::uint32_t>(*number)}) : taken.end();
    return port != taken.end() ? std::optional(node_of(port->second)) : std::nullopt;
  }
  const registry::BusInfo* found = buses_.registry().find(name);
  return found != nullptr ? std::optional(node_of(found->id)) : std::nullopt;
}

// The file of a bus, unless it has none of that kind.
std::optional<Node> BusesFolder::existing(std::optional<Node> file) const {
  return file && exists(*file) ? file : std::nullopt;
}

std::string BusesFolder::target(Node link) const { return buses_.find(id_of(link))->vde; }

std::optional<Entry> BusesFolder::child_from(Node parent, std::uint64_t cookie) {
  if (parent.kind == Kind::port) {
    auto entry = file_from(kPortFiles, parent, cookie);
    if (entry) {
      entry->child.node = *present(entry->child.node);
    }
    return entry;
  }
  if (parent.kind == Kind::bus && parent.file == directory) {
    auto entry = file_from(kFiles, parent, cookie);
    if (entry) {
      entry->child.node = *present(entry->child.node);
    }
    return entry && exists(entry->child.node) ? entry
                                              : std::nullopt;  // what may be missing is last
  }
  if (parent.kind == Kind::bus) {
    const auto& taken = buses_.registry().find(id_of(parent))->ports;
    const auto port = taken.lower_bound(bus::PortNumber{static_cast<std::uint32_t>(cookie)});
    if (port == taken.end()) {
      return std::nullopt;
    }
    const std::uint64_t number = std::to_underlying(port->first);
    return Entry{{fmt::format("{}", number), node_of(port->second)}, number + 1};
  }
  const registry::BusInfo* bus = buses_.registry().bus_from(registry::BusId{cookie});
  if (bus == nullptr) {
    return std::nullopt;
  }
  return Entry{{bus->name, node_of(bus->id)}, static_cast<std::uint64_t>(bus->id) + 1};
}

Result<std::string> BusesFolder::value(Node file, uid_t /*by*/) {
  if (file.kind == Kind::port) {
    return port_value(file);
  }
  const registry::BusInfo& bus = *buses_.registry().find(id_of(file));
  LiveBus& live = *buses_.find(bus.id);
  switch (file.file) {
    case members:
      return format_members(buses_, bus);
    case stats:
      live.refresh();
      return format_bus_stats(live.data.totals(), bus, live.ethernet.get());
    case macs:
      return format_macs(live.ethernet.get());
    default:
      return format_setting(bus.settings, file.file) + "\n";
  }
}

Result<std::string> BusesFolder::port_value(Node file) {
  const registry::Port& port = *buses_.registry().find_port(port_of(file));
  LiveBus& live = *buses_.find(port.bus);
  switch (file.file) {
    case port_name:
      return format_port_name(live, port);
    case port_vlan:
      return format_vlan(live, port);
    case port_ctl:
      return fail(EACCES, "ctl is written");
    default:
      live.refresh();
      return format_port_stats(live, port);
  }
}

Status BusesFolder::set_port_value(Node file, std::string_view text) {
  const registry::Port& port = *buses_.registry().find_port(port_of(file));
  LiveBus& live = *buses_.find(port.bus);
  switch (file.file) {
    case port_name:
      return set_port_name(live, port, text);
    case port_vlan:
      return set_vlan(live, port, text);
    case port_ctl:
      return shut_down(port, text);
    default:
      return fail(EACCES, "not an attribute that can be set");
  }
}

Status BusesFolder::shut_down(const registry::Port& port, std::string_view text) {
  const auto verb = parse_flow_verb(text);
  if (!verb) {
    return std::unexpected(verb.error());
  }
  return buses_.shut_down(port.id, {.receive = *verb != FlowVerb::shutdown_write,
                                    .send = *verb != FlowVerb::shutdown_read});
}

Status BusesFolder::set_value(Node file, std::string_view text, uid_t by) {
  if (file.kind == Kind::port) {
    return set_port_value(file, text);
  }
  registry::BusSettings settings = buses_.registry().find(id_of(file))->settings;
  if (Status status = set_setting(settings, file.file, text); !status) {
    return status;
  }
  return buses_.set_settings(id_of(file), settings, by);
}

void BusesFolder::open(Request request, Node node, int flags) {
  if (node.kind == Kind::bus_memory) {
    mapped_.open(request, node, flags);
  } else if (node.kind == Kind::port) {
    replies_.error(request, EOPNOTSUPP);  // tx of a member of an Ethernet
  } else if (node.file == log_file) {
    replies_.error(request, buses_.find(id_of(node))->ethernet ? EOPNOTSUPP : ENOTCONN);
  } else if (node.file == events) {
    buses_.open_events(request, node, flags, id_of(node));
  } else if (node.file == pcap) {
    buses_.open_pcap(request, node, flags, id_of(node));
  } else {
    buses_.open_bus(request, node, flags, id_of(node));
  }
}

Result<Node> BusesFolder::make_directory(Node parent, std::string_view name, mode_t mode,
                                         registry::Opener who) {
  if (parent.kind != Kind::buses) {
    return fail(EPERM, "objects have no directories of their own");
  }
  const auto id = buses_.create(name, who, {});
  if (!id) {
    return std::unexpected(id.error());
  }
  born(*id, who.uid, who.gid, mode & 07777);
  return node_of(*id);
}

Status BusesFolder::remove_directory(Node parent, std::string_view name, uid_t by) {
  if (parent.kind != Kind::buses) {
    return keep_child(parent, name);
  }
  const registry::BusInfo* found = buses_.registry().find(name);
  const registry::BusId id = found != nullptr ? found->id : registry::BusId{};
  const Status status = buses_.remove(name, by);
  if (status) {
    changed_ = wall_clock_now();
    births_.erase(id);
    declared_.erase(id);
    metas_.erase_object(Kind::bus, static_cast<std::uint64_t>(id));
  }
  return status;
}

Status BusesFolder::rename(Node parent, std::string_view from, std::string_view to, RenameMode mode,
                           uid_t by) {
  if (parent.kind != Kind::buses) {
    return fail(EPERM, "an object's files keep their names");
  }
  const Status status =
      mode == RenameMode::exchange ? buses_.exchange(from, to, by) : buses_.rename(from, to, by);
  if (status) {
    changed_ = wall_clock_now();
  }
  return status;
}

}  // namespace flowfs::fs
