// SPDX-License-Identifier: BSD-3-Clause
#include "fs/users_folder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "fs/attributes.hpp"

namespace flowfs::fs {
namespace {

enum UserFile : std::uint8_t { directory, usage, limits, status };

// The files belong to root: the directory lets only its user in, and only root may set limits.
constexpr FileSpec kFiles[] = {
    {"", FileType::directory, 0500},
    {"usage", FileType::attribute, 0444},
    {"limits", FileType::attribute, 0644},
    {"status", FileType::mapped, 0444},
};

uid_t uid_of(Node node) { return static_cast<uid_t>(node.object); }

registry::Resource resource(std::size_t index) { return static_cast<registry::Resource>(index); }

std::optional<std::size_t> find_resource(std::string_view name) {
  for (std::size_t i = 0; i < registry::kResources; ++i) {
    if (to_string(resource(i)) == name) {
      return i;
    }
  }
  return std::nullopt;
}

}  // namespace

bool UsersFolder::exists(Node node) const {
  return node.kind == Kind::users ? node.file == directory
                                  : node.file < std::size(kFiles) && users_.is_known(uid_of(node));
}

FileType UsersFolder::type(Node node) const { return kFiles[node.file].type; }

Meta UsersFolder::defaults(Node node) const {
  Meta meta{.mode = 0555, .acl = {}, .access = mounted_, .modified = mounted_, .changed = mounted_};
  if (node.kind == Kind::user) {
    meta.mode = kFiles[node.file].mode;
    meta.uid = node.file == directory ? uid_of(node) : 0;
  }
  return meta;
}

std::optional<Node> UsersFolder::child(Node parent, std::string_view name) {
  if (parent.kind == Kind::user) {
    return find_file(kFiles, parent, name);
  }
  const auto uid = number_named(name, 0, 0xfffffffe);
  if (!uid || !users_.is_known(static_cast<uid_t>(*uid))) {
    return std::nullopt;
  }
  return Node{Kind::user, *uid, directory};
}

std::optional<Entry> UsersFolder::child_from(Node parent, std::uint64_t cookie) {
  if (parent.kind == Kind::user) {
    return file_from(kFiles, parent, cookie);
  }
  const auto uid = users_.known_from(cookie);
  if (!uid) {
    return std::nullopt;
  }
  return Entry{{fmt::format("{}", *uid), Node{Kind::user, *uid, directory}},
               std::uint64_t{*uid} + 1};
}

Result<std::string> UsersFolder::value(Node file, uid_t /*by*/) {
  const uid_t uid = uid_of(file);
  std::string text;
  for (std::size_t i = 0; i < registry::kResources; ++i) {
    const std::uint64_t number =
        file.file == usage ? users_.used(uid, resource(i)) : users_.limit(uid, resource(i));
    text += fmt::format("{} {}\n", to_string(resource(i)), format_number(number));
  }
  return text;
}

// A write sets the limits it names; the others stay, as each is a value of its own.
Status UsersFolder::set_value(Node file, std::string_view text, uid_t /*by*/) {
  if (file.file != limits) {
    return fail(EACCES, "usage is told, not set");
  }
  const auto pairs = parse_pairs(text);
  if (!pairs || pairs->empty()) {
    return pairs ? fail(EINVAL, "no limit given") : std::unexpected(pairs.error());
  }
  std::vector<std::pair<registry::Resource, std::uint64_t>> parsed;
  for (const auto& [key, value] : *pairs) {
    const auto index = find_resource(key);
    if (!index) {
      return fail(EINVAL, "no such resource");
    }
    const auto number = parse_number(value, 0, registry::kUnlimited - 1, true);
    if (!number) {
      return std::unexpected(number.error());
    }
    parsed.emplace_back(resource(*index), *number);
  }
  for (const auto& [which, number] : parsed) {
    users_.set_limit(uid_of(file), which, number);
  }
  return {};
}

std::uint64_t UsersFolder::mapped_size(Node /*node*/) const { return MappedEnds::status_bytes(); }

bool UsersFolder::has_lines(Node file) const { return file.file == limits; }

Result<int> UsersFolder::memory(Node file, bool writable, uid_t /*by*/) {
  return mapped_.status_memory(uid_of(file), writable);
}

void UsersFolder::open(Request request, Node node, int flags) {
  mapped_.open_status(request, node, uid_of(node), flags);
}

}  // namespace flowfs::fs
