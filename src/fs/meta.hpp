// SPDX-License-Identifier: BSD-3-Clause
// Mode, owner, list and times of nodes: the defaults come from the kind of directory, what chmod,
// chown, setfacl and touch changed is kept here until the object goes.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <unordered_map>

#include "fs/acl.hpp"
#include "fs/node.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

struct Meta {
  mode_t mode = 0;  // permission bits only
  uid_t uid = 0;
  gid_t gid = 0;
  Acl acl{};
  timespec access{};
  timespec modified{};
  timespec changed{};
};

timespec wall_clock_now();

class MetaStore {
 public:
  // The changed metadata of a node, if anything about it was ever changed.
  [[nodiscard]] const Meta* find(Node node) const {
    const auto it = changed_.find(node.id());
    return it == changed_.end() ? nullptr : &it->second.meta;
  }
  // What `meta` costs to keep, about.
  static std::uint64_t bytes_of(const Meta& meta) {
    return sizeof(Kept) + meta.acl.size() * sizeof(AclEntry);
  }
  void set(Node node, Meta meta, registry::Charge charge) {
    changed_.insert_or_assign(node.id(), Kept{std::move(meta), std::move(charge)});
  }
  // Forgets every file of an object.
  void erase_object(Kind kind, std::uint64_t object) {
    if (changed_.empty()) {
      return;
    }
    for (unsigned file = 0; file < kMostFiles; ++file) {
      changed_.erase(Node{kind, object, static_cast<std::uint8_t>(file)}.id());
    }
  }

  static constexpr unsigned kMostFiles = 32;  // in any object

 private:
  struct Kept {
    Meta meta;
    registry::Charge charge;  // Resource::bytes
  };
  std::unordered_map<std::uint64_t, Kept> changed_;
};

}  // namespace flowfs::fs
