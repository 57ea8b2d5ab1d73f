// SPDX-License-Identifier: BSD-3-Clause
// What the tree hands out over the sockets beside the mount, and to whom.
#include <unistd.h>

#include <string>
#include <vector>

#include "base/log.hpp"
#include "fs/bus_values.hpp"
#include "fs/tree.hpp"

namespace flowfs::fs {
namespace {

Result<std::vector<std::string>> path_of_member(const flowfs_memory_request& wanted,
                                                const registry::Buses& buses) {
  const registry::Port* const port = buses.find_port(registry::PortId{wanted.object});
  if (port == nullptr) {
    return fail(ENOENT, "member of a bus");
  }
  const std::string& bus = buses.find(port->bus)->name;
  if (wanted.file == FLOWFS_MEMORY_BUS_LOG) {
    return std::vector<std::string>{"buses", bus, "log"};
  }
  return std::vector<std::string>{"buses", bus, "port",
                                  std::to_string(std::to_underlying(port->number)), "tx"};
}

// The path below the mount that a request means.
Result<std::vector<std::string>> path_of(const flowfs_memory_request& wanted,
                                         const registry::Buses& buses) {
  const std::string object = std::to_string(wanted.object);
  switch (wanted.file) {
    case FLOWFS_MEMORY_TX:
      return std::vector<std::string>{"flows", object, "tx"};
    case FLOWFS_MEMORY_RX:
      return std::vector<std::string>{"flows", object, "rx"};
    case FLOWFS_MEMORY_STATUS:
      return std::vector<std::string>{"users", object, "status"};
    case FLOWFS_MEMORY_POOL:
      return std::vector<std::string>{"pools", object};
    case FLOWFS_MEMORY_SHARED_POOL:
      return std::vector<std::string>{"pools", "shared"};
    case FLOWFS_MEMORY_BUS_TX:
    case FLOWFS_MEMORY_BUS_LOG:
      return path_of_member(wanted, buses);
    default:
      return fail(EINVAL, "kind of memory");
  }
}

bool is_well_formed(const flowfs_memory_request& request) {
  return request.version == FLOWFS_LAYOUT_VERSION && request.reserved == 0 &&
         (request.access == FLOWFS_MEMORY_READ || request.access == FLOWFS_MEMORY_WRITE);
}

}  // namespace

void Tree::offer_memory(MemoryOffer offer) { offer_ = std::move(offer); }

void Tree::open_memory_socket() {
  if (offer_.path.empty()) {
    return;
  }
  auto socket =
      MemorySocket::listen(loop_, accounts_, offer_.path,
                           [this](const flowfs_memory_request& wanted, const Caller& caller) {
                             return memory(wanted, caller);
                           });
  if (!socket) {
    log::warning("cannot hand out memory: path={} error=\"{}\"", offer_.path,
                 socket.error().message());
    return;
  }
  memory_socket_ = std::move(*socket);
  backings_.set_handed_out(true);
  pools_.prefault();
}

void Tree::close_memory_socket() {
  backings_.set_handed_out(false);
  memory_socket_.reset();
}

// As an open through the mount: the right to search each folder on the way, then that to the file.
Result<int> Tree::memory(const flowfs_memory_request& wanted, const Caller& caller) {
  counters_.asked(Op::memory);
  auto found = find_memory(wanted, caller);
  if (!found) {
    counters_.refused(Op::memory, found.error().error);
  }
  return found;
}

Result<int> Tree::find_memory(const flowfs_memory_request& wanted, const Caller& caller) {
  if (!is_well_formed(wanted)) {
    return fail(EINVAL, "request for memory");
  }
  // Nobody else can look into such a mount, root included.
  if (!offer_.to_others && caller.uid != ::geteuid()) {
    return fail(EACCES, "memory");
  }
  const auto path = path_of(wanted, buses_.registry());
  if (!path) {
    return std::unexpected(path.error());
  }
  Node node{};
  for (const std::string& name : *path) {
    if (!permits(meta(node), caller, kMaySearch)) {
      return fail(EACCES, "memory");
    }
    const auto child = folder(node).child(node, name);
    if (!child) {
      return fail(ENOENT, "memory");
    }
    node = *child;
  }
  const bool writable = wanted.access == FLOWFS_MEMORY_WRITE;
  const auto rights = static_cast<std::uint16_t>(writable ? kMayRead | kMayWrite : kMayRead);
  if (!permits(meta(node), caller, rights)) {
    return fail(EACCES, "memory");
  }
  return folder(node).memory(node, writable, caller.uid);
}

void Tree::offer_vde(const std::string& path) {
  if (path.empty()) {
    return;
  }
  if (const Status opened = vde_.open(path); !opened) {
    log::warning("VDE clients cannot plug in: path={} error=\"{}\"", path,
                 opened.error().message());
  }
}

// As an open of `bus` through the mount: the right to search each folder on the way, then those to
// the file.
registry::Rights Tree::rights_on(registry::BusId id, const Caller& caller) {
  const Node bus{Kind::bus, std::to_underlying(id), directory};
  if (!offer_.to_others && caller.uid != ::geteuid()) {
    return {};
  }
  for (const Node folder : {Node{}, Node{Kind::buses, 0, 0}, bus}) {
    if (!permits(meta(folder), caller, kMaySearch)) {
      return {};
    }
  }
  const Meta entrance = meta({bus.kind, bus.object, bus_file});
  return {.receive = permits(entrance, caller, kMayRead),
          .send = permits(entrance, caller, kMayWrite)};
}

}  // namespace flowfs::fs
