// SPDX-License-Identifier: BSD-3-Clause
#include "fs/pools_folder.hpp"

#include <memory>
#include <utility>

#include "fs/attributes.hpp"
#include "fs/pool_file.hpp"

namespace flowfs::fs {
namespace {

// Node::file. That of the shared pool also names what chmod and the like changed of it, which stays
// while pools come and go.
enum PoolNode : std::uint8_t { directory, pool_file };

Node node_of(const Pool& pool) { return {Kind::pool, std::to_underlying(pool.serial), pool_file}; }

// Whose pool a name is; nothing where it is nobody's. One spelling each: `007` is nobody.
std::optional<PoolOwner> parse_owner(std::string_view name) {
  const auto uid = parse_number(name, 0, 0xfffffffe, false);
  const PoolOwner owner = uid ? PoolOwner{static_cast<uid_t>(*uid)} : PoolOwner{};
  return name == to_string(owner) ? std::optional<PoolOwner>(owner) : std::nullopt;
}

}  // namespace

const Pool& PoolsFolder::pool_of(Node node) const { return *pools_.find(PoolSerial{node.object}); }

bool PoolsFolder::exists(Node node) const {
  return node.kind == Kind::pools
             ? node.file == directory
             : node.file == pool_file && pools_.find(PoolSerial{node.object}) != nullptr;
}

FileType PoolsFolder::type(Node node) const {
  return node.kind == Kind::pools ? FileType::directory : FileType::mapped;
}

Meta PoolsFolder::defaults(Node node) const {
  if (node.kind == Kind::pools) {
    return {.mode = 0555, .acl = {}, .access = mounted_, .modified = mounted_, .changed = mounted_};
  }
  const Pool& pool = pool_of(node);
  const bool grouped = !pool.owner && pools_.group();
  return {.mode = grouped ? mode_t{0660} : mode_t{0600},
          .uid = pool.owner.value_or(0),
          .gid = grouped ? *pools_.group() : 0,
          .acl = {},
          .access = pool.born,
          .modified = pool.born,
          .changed = pool.born};
}

Node PoolsFolder::lasting(Node node) const {
  const bool shared = node.kind == Kind::pool && !pool_of(node).owner;
  return shared ? Node{Kind::pools, 0, pool_file} : node;
}

std::uint64_t PoolsFolder::mapped_size(Node node) const {
  return pool_of(node).geometry.pool_bytes();
}

// The shared pool is there for whoever may see it, a user's own once root or that user looks for
// it.
void PoolsFolder::prepare(Node /*directory*/, std::string_view name, uid_t by) {
  const auto owner = parse_owner(name);
  if (owner && (!owner->has_value() || by == 0 || by == **owner)) {
    pools_.find_or_make(*owner);
  }
}

std::optional<Node> PoolsFolder::child(Node /*directory*/, std::string_view name) {
  const auto owner = parse_owner(name);
  const Pool* pool = owner ? pools_.find(*owner) : nullptr;
  return pool == nullptr ? std::nullopt : std::optional(node_of(*pool));
}

// The shared pool first, then those of users by uid, which is one less than the cookie.
std::optional<Entry> PoolsFolder::child_from(Node /*directory*/, std::uint64_t cookie) {
  if (cookie == 0) {
    const Pool& shared = pools_.find_or_make({});
    return Entry{{to_string(shared.owner), node_of(shared)}, 1};
  }
  const Pool* pool = pools_.personal_from(cookie - 1);
  if (pool == nullptr) {
    return std::nullopt;
  }
  return Entry{{to_string(pool->owner), node_of(*pool)}, std::uint64_t{*pool->owner} + 2};
}

Result<std::string> PoolsFolder::value(Node /*file*/, uid_t /*by*/) {
  return fail(EINVAL, "pools are mapped");
}

Result<int> PoolsFolder::memory(Node file, bool /*writable*/, uid_t /*by*/) {
  const Pool& pool = pool_of(file);
  return pool.store ? Result<int>(pool.store->memory.fd().get()) : fail(ENOENT, "pool not opened");
}

void PoolsFolder::open(Request request, Node node, int flags) {
  auto use = pools_.open(*pools_.find(PoolSerial{node.object}));
  if (!use) {
    replies_.error(request, errno_for_caller(use.error().error));
    return;
  }
  const int backing = (*use)->store->backing.id();
  auto file =
      files_.add(std::make_unique<PoolFile>(std::move(*use), filler_, ends_, replies_, node, flags),
                 request.uid());
  if (!file) {
    replies_.error(request, file.error().error);
  } else if (!reply_open_mapped(request, *file, backing, true)) {
    files_.remove(*file);
  }
}

}  // namespace flowfs::fs
