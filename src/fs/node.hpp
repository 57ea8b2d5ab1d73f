// SPDX-License-Identifier: BSD-3-Clause
// What a node id of the tree stands for.
//
// A node id is computed from what it names, so that there is no table of nodes to keep in step with
// the registry, and an id whose object has gone simply names nothing. Object ids are never reused,
// so neither are inode numbers.
//
//   bit 63      an instance: one LOOKUP of a message file (see Instances); the rest is a counter
//   bits 56-62  kind
//   bits 8-55   object: NameId, FlowId, BusId, PortId, AttachmentId, uid, or serial of a segment or
//   a pool bits 0-7    file within the object; 0 is the directory itself
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

namespace flowfs::fs {

enum class Kind : std::uint8_t {
  root = 1,  // the mount and its plain files
  names,
  name,
  alias,
  flows,
  flow,
  segment,  // tx and rx of an end: a new object for each new segment
  users,
  user,
  pools,
  pool,  // a new object for each that is made, whoever's it is
  buses,
  bus,
  port,  // a new object for each joining, whatever its number
  attachment,
  security,    // names/NAME/security; the object is the name
  bus_memory,  // tx of a member, or log of a bus: a new object for each
};
inline constexpr std::uint8_t kLastKind = static_cast<std::uint8_t>(Kind::bus_memory);

struct Node {
  Kind kind = Kind::root;
  std::uint64_t object = 0;
  std::uint8_t file = 0;

  // FUSE's root id is 1; everything else follows the table above.
  [[nodiscard]] constexpr std::uint64_t id() const {
    if (kind == Kind::root && file == 0) {
      return 1;
    }
    return std::uint64_t{static_cast<std::uint8_t>(kind)} << 56 | object << 8 | file;
  }

  // Nothing for an instance id or an unknown kind.
  static constexpr std::optional<Node> decode(std::uint64_t id) {
    if (id == 1) {
      return Node{};
    }
    const auto kind = static_cast<std::uint8_t>(id >> 56);
    if (kind == 0 || kind > kLastKind) {
      return std::nullopt;
    }
    return Node{static_cast<Kind>(kind), id >> 8 & 0xffffffffffff, static_cast<std::uint8_t>(id)};
  }

  friend constexpr bool operator==(const Node&, const Node&) = default;
};

// Message files get a node id of their own at every LOOKUP: a write parked in the kernel holds the
// lock of its inode, and an inode that is nobody else's harms nobody (docs/architecture.md).
class Instances {
 public:
  static constexpr bool is_instance(std::uint64_t id) { return (id >> 63) != 0; }

  std::uint64_t make(Node node) {
    const std::uint64_t id = std::uint64_t{1} << 63 | next_++;
    live_.emplace(id, Live{node, 1});
    return id;
  }
  [[nodiscard]] std::optional<Node> find(std::uint64_t id) const {
    const auto it = live_.find(id);
    return it == live_.end() ? std::nullopt : std::optional(it->second.node);
  }
  void forget(std::uint64_t id, std::uint64_t lookups) {
    const auto it = live_.find(id);
    if (it == live_.end()) {
      return;
    }
    if (it->second.lookups <= lookups) {
      live_.erase(it);
    } else {
      it->second.lookups -= lookups;
    }
  }
  [[nodiscard]] std::size_t size() const { return live_.size(); }

 private:
  struct Live {
    Node node;
    std::uint64_t lookups;
  };
  std::unordered_map<std::uint64_t, Live> live_;
  std::uint64_t next_ = 1;
};

}  // namespace flowfs::fs
