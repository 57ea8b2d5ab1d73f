// SPDX-License-Identifier: BSD-3-Clause
#include "fs/names_folder.hpp"

#include <fmt/format.h>

#include "fs/attributes.hpp"

namespace flowfs::fs {
namespace {

// The files of names/NAME, in the order of Node::file.
enum NameFile : std::uint8_t {
  directory,
  accept,
  dial,
  backlog,
  dial_timeout,
  balance,
  mtu,
  depth,
  qos,
  direct,
  stats,
  security,
};

// The files of names/NAME/security. Those with PEM are in the order of NameSecurity::Part.
enum SecurityFile : std::uint8_t {
  authenticate = 1,
  encrypt,
  certificate,
  key,
  ca,
  crl,
};

constexpr FileSpec kSecurityFiles[] = {
    {"", FileType::directory, 0700},        {"authenticate", FileType::attribute, 0600},
    {"encrypt", FileType::attribute, 0600}, {"certificate", FileType::attribute, 0600},
    {"key", FileType::attribute, 0200},     {"ca", FileType::attribute, 0600},
    {"crl", FileType::attribute, 0600},
};

constexpr FileSpec kFiles[] = {
    {"", FileType::directory, 0755},
    {"accept", FileType::message, 0600},
    {"dial", FileType::message, 0600},
    {"backlog", FileType::attribute, 0644},
    {"dial_timeout", FileType::attribute, 0644},
    {"balance", FileType::attribute, 0644},
    {"mtu", FileType::attribute, 0644},
    {"depth", FileType::attribute, 0644},
    {"qos", FileType::attribute, 0644},
    {"direct", FileType::attribute, 0644},
    {"stats", FileType::attribute, 0444},
    {"security", FileType::directory, 0700},
};

constexpr std::uint64_t kMostBacklog = 1'000'000;
constexpr std::uint64_t kMostDialTimeout = 1'000'000'000'000;  // 11 days, in microseconds
constexpr std::uint64_t kMostDepth = 1ULL << 30;

registry::NameId id_of(Node node) { return registry::NameId{node.object}; }

Node node_of(Kind kind, registry::NameId id) { return {kind, static_cast<std::uint64_t>(id), 0}; }

bool is_pem(Node node) { return node.kind == Kind::security && node.file >= certificate; }

NameSecurity::Part part_of(Node node) {
  return static_cast<NameSecurity::Part>(node.file - certificate);
}

std::string format_stats(const registry::NameStats& stats) {
  return fmt::format(
      "flows {}\nflows_ever {}\nrefused {}\ntimed_out {}\nbytes_from_client {}\n"
      "bytes_to_client {}\nmessages_from_client {}\nmessages_to_client {}\n",
      stats.flows_now, stats.flows_ever, stats.refused, stats.timed_out, stats.bytes_from_client,
      stats.bytes_to_client, stats.messages_from_client, stats.messages_to_client);
}

// Sets `field` from `text`, or says what is wrong with it.
Status set_number(std::uint64_t& field, std::string_view text, std::uint64_t least,
                  std::uint64_t most, bool max_allowed) {
  const auto number = parse_number(text, least, most, max_allowed);
  if (!number) {
    return std::unexpected(number.error());
  }
  field = *number;
  return {};
}

Status set_setting(registry::NameSettings& settings, std::uint8_t file, std::string_view text,
                   std::uint64_t longest_message) {
  switch (file) {
    case backlog:
      return set_number(settings.backlog, text, 0, kMostBacklog, true);
    case dial_timeout:
      return set_number(settings.dial_timeout_us, text, 0, kMostDialTimeout, true);
    case mtu:
      return set_number(settings.mtu_bytes, text, 1, longest_message, false);
    case depth:
      return set_number(settings.depth_bytes, text, 1, kMostDepth, false);
    case balance: {
      const auto parsed = parse_balance(text);
      settings.balance = parsed.value_or(settings.balance);
      return parsed ? Status{} : std::unexpected(parsed.error());
    }
    case qos: {
      const auto parsed = parse_qos(text);
      settings.qos = parsed.value_or(settings.qos);
      return parsed ? Status{} : std::unexpected(parsed.error());
    }
    case direct: {
      const auto parsed = parse_number(text, 0, 1, false);
      settings.direct = parsed ? *parsed == 1 : settings.direct;
      return parsed ? Status{} : std::unexpected(parsed.error());
    }
    default:
      return fail(EACCES, "not an attribute that can be set");
  }
}

Result<std::string> security_value(const NameSecurity& what, Node file) {
  switch (file.file) {
    case authenticate:
      return what.authenticate();
    case encrypt:
      return what.encrypt();
    default:
      return what.text(part_of(file));
  }
}

}  // namespace

NamesFolder::NamesFolder(registry::Registry& registry, registry::Users& users, Ends& ends,
                         MetaStore& metas)
    : registry_(registry),
      users_(users),
      ends_(ends),
      metas_(metas),
      mounted_(wall_clock_now()),
      changed_(mounted_) {}

void NamesFolder::born(registry::NameId id, uid_t uid, gid_t gid, mode_t mode) {
  changed_ = wall_clock_now();
  births_.insert_or_assign(id, Birth{uid, gid, mode, changed_});
}

void NamesFolder::gone(Kind kind, registry::NameId id) {
  changed_ = wall_clock_now();
  births_.erase(id);
  declared_.erase(id);
  security_.erase(id);
  metas_.erase_object(kind, static_cast<std::uint64_t>(id));
  metas_.erase_object(Kind::security, static_cast<std::uint64_t>(id));
}

Status NamesFolder::declare(const DeclaredName& declared) {
  if (const registry::Name* made = registry_.find_name(declared.name); made != nullptr) {
    const auto before = declared_.find(made->id);
    if (before != declared_.end() && before->second != declared.settings) {
      before->second = declared.settings;
      registry_.set_settings(made->id, declared.settings);
    }
    return {};
  }
  const auto id = registry_.declare_name(declared.name, declared.uid, declared.settings);
  if (!id) {
    return std::unexpected(id.error());
  }
  born(*id, declared.uid, declared.gid, declared.mode);
  declared_.emplace(*id, declared.settings);
  const auto set_mode = [&](std::uint8_t file, std::optional<mode_t> mode) {
    if (mode) {
      const Node node{Kind::name, static_cast<std::uint64_t>(*id), file};
      Meta meta = defaults(node);
      meta.mode = *mode;
      metas_.set(node, std::move(meta), {});  // of the configuration: charged to nobody
    }
  };
  set_mode(accept, declared.accept_mode);
  set_mode(dial, declared.dial_mode);
  return {};
}

bool NamesFolder::exists(Node node) const {
  switch (node.kind) {
    case Kind::names:
      return node.file == directory;
    case Kind::name:
      return node.file < std::size(kFiles) && births_.contains(id_of(node));
    case Kind::security:
      return node.file != directory && node.file < std::size(kSecurityFiles) &&
             births_.contains(id_of(node));
    case Kind::alias:
      return node.file == 0 && births_.contains(id_of(node));
    default:
      return false;
  }
}

FileType NamesFolder::type(Node node) const {
  switch (node.kind) {
    case Kind::name:
      return kFiles[node.file].type;
    case Kind::security:
      return kSecurityFiles[node.file].type;
    case Kind::alias:
      return FileType::symlink;
    default:
      return FileType::directory;
  }
}

Meta NamesFolder::defaults(Node node) const {
  if (node.kind == Kind::names) {
    return {.mode = 01777, .access = mounted_, .modified = changed_, .changed = changed_};
  }
  const Birth& birth = births_.at(id_of(node));
  mode_t mode = node.kind == Kind::alias      ? 0777
                : node.kind == Kind::security ? kSecurityFiles[node.file].mode
                                              : kFiles[node.file].mode;
  if (node.kind == Kind::name && node.file == directory) {
    mode = birth.mode;
  } else if (node.kind == Kind::name && node.file == dial) {
    mode = birth.entrance_mode(0600);
  }
  return birth.meta(mode);
}

std::optional<Node> NamesFolder::child(Node parent, std::string_view name) {
  if (parent.kind == Kind::name && parent.file == security) {
    return find_file(kSecurityFiles, {Kind::security, parent.object}, name);
  }
  if (parent.kind == Kind::name) {
    return find_file(kFiles, parent, name);
  }
  if (const registry::Name* found = registry_.find_name(name); found != nullptr) {
    return node_of(Kind::name, found->id);
  }
  if (const registry::Alias* found = registry_.find_alias(name); found != nullptr) {
    return node_of(Kind::alias, found->id);
  }
  return std::nullopt;
}

std::optional<Entry> NamesFolder::child_from(Node parent, std::uint64_t cookie) {
  if (parent.kind == Kind::name && parent.file == security) {
    return file_from(kSecurityFiles, {Kind::security, parent.object}, cookie);
  }
  if (parent.kind == Kind::name) {
    return file_from(kFiles, parent, cookie);
  }
  const auto entry = registry_.entry_from(registry::NameId{cookie});
  if (!entry) {
    return std::nullopt;
  }
  return Entry{
      {std::string(entry->name), node_of(entry->is_alias ? Kind::alias : Kind::name, entry->id)},
      static_cast<std::uint64_t>(entry->id) + 1};
}

std::string NamesFolder::target(Node link) const {
  return registry_.find_alias(id_of(link))->target;
}

Result<std::string> NamesFolder::value(Node file, uid_t /*by*/) {
  if (file.kind == Kind::security) {
    const NameSecurity nothing(users_, 0);
    const NameSecurity* const found = find_security(id_of(file));
    return security_value(found == nullptr ? nothing : *found, file);
  }
  const registry::Name& name = *registry_.find_name(id_of(file));
  switch (file.file) {
    case backlog:
      return format_number(name.settings.backlog) + "\n";
    case dial_timeout:
      return format_number(name.settings.dial_timeout_us) + "\n";
    case balance:
      return std::string(to_string(name.settings.balance)) + "\n";
    case mtu:
      return format_number(name.settings.mtu_bytes) + "\n";
    case depth:
      return format_number(name.settings.depth_bytes) + "\n";
    case qos:
      return format_qos(name.settings.qos);
    case direct:
      return name.settings.direct ? "1\n" : "0\n";
    default:
      return format_stats(name.stats);
  }
}

const NameSecurity* NamesFolder::find_security(registry::NameId id) const {
  const auto found = security_.find(id);
  return found == security_.end() ? nullptr : &found->second;
}

Status NamesFolder::set_security(Node file, std::string_view text) {
  const registry::Name& name = *registry_.find_name(id_of(file));
  NameSecurity& place = security_.try_emplace(name.id, users_, name.owner).first->second;
  switch (file.file) {
    case authenticate:
      return place.set_authenticate(trim(text));
    case encrypt:
      return place.set_encrypt(trim(text));
    default:
      return place.set_text(part_of(file), text);
  }
}

Status NamesFolder::set_value(Node file, std::string_view text, uid_t /*by*/) {
  if (file.kind == Kind::security) {
    return set_security(file, text);
  }
  const registry::Name& name = *registry_.find_name(id_of(file));
  registry::NameSettings settings = name.settings;
  if (Status status = set_setting(settings, file.file, text, longest_message_); !status) {
    return status;
  }
  registry_.set_settings(name.id, settings);
  ends_.drain_effects();
  return {};
}

bool NamesFolder::has_lines(Node file) const {
  return is_pem(file) || (file.kind == Kind::name && file.file == qos);
}

std::size_t NamesFolder::longest_value(Node file) const {
  return is_pem(file) ? auth::kLongestPem : Folder::longest_value(file);
}

void NamesFolder::open(Request request, Node node, int flags) {
  const NameSecurity* const found = find_security(id_of(node));
  const auto side = node.file == dial ? flow::Side::client : flow::Side::server;
  ends_.open_end(request, node, flags, id_of(node), side,
                 found != nullptr ? found->given() : GivenSecurity{});
}

Result<Node> NamesFolder::make_directory(Node parent, std::string_view name, mode_t mode,
                                         registry::Opener who) {
  if (parent.kind != Kind::names) {
    return fail(EPERM, "objects have no directories of their own");
  }
  const auto id = registry_.create_name(name, who, defaults_);
  if (!id) {
    return std::unexpected(id.error());
  }
  born(*id, who.uid, who.gid, mode & 07777);
  ends_.drain_effects();
  return node_of(Kind::name, *id);
}

Status NamesFolder::remove_directory(Node parent, std::string_view name, uid_t by) {
  if (parent.kind != Kind::names) {
    return keep_child(parent, name);
  }
  const registry::Name* found = registry_.find_name(name);
  const registry::NameId id = found != nullptr ? found->id : registry::NameId{};
  const Status status = registry_.remove_name(name, by);
  if (status) {
    gone(Kind::name, id);
    ends_.drain_effects();
  }
  return status;
}

Result<Node> NamesFolder::make_link(Node parent, std::string_view name, std::string_view target,
                                    registry::Opener who) {
  if (parent.kind != Kind::names) {
    return fail(EPERM, "aliases belong into names/");
  }
  const auto id = registry_.create_alias(name, target, who);
  if (!id) {
    return std::unexpected(id.error());
  }
  born(*id, who.uid, who.gid, 0777);
  ends_.drain_effects();
  return node_of(Kind::alias, *id);
}

Status NamesFolder::remove_link(Node parent, std::string_view name, uid_t by) {
  if (parent.kind != Kind::names) {
    return fail(EPERM, "an object's files go with it");
  }
  const registry::Alias* found = registry_.find_alias(name);
  const registry::NameId id = found != nullptr ? found->id : registry::NameId{};
  const Status status = registry_.remove_alias(name, by);
  if (status) {
    gone(Kind::alias, id);
    ends_.drain_effects();
  }
  return status;
}

Status NamesFolder::rename(Node parent, std::string_view from, std::string_view to, RenameMode mode,
                           uid_t by) {
  if (parent.kind != Kind::names) {
    return fail(EPERM, "an object's files keep their names");
  }
  // An alias that another one replaces goes.
  const registry::Alias* replaced =
      mode == RenameMode::exchange || from == to ? nullptr : registry_.find_alias(to);
  const registry::NameId replaced_id = replaced != nullptr ? replaced->id : registry::NameId{};
  const Status status = mode == RenameMode::exchange
                            ? registry_.exchange(from, to, by)
                            : registry_.rename(from, to, mode == RenameMode::no_replace, by);
  if (status) {
    if (replaced != nullptr) {
      gone(Kind::alias, replaced_id);
    }
    changed_ = wall_clock_now();
    ends_.drain_effects();
  }
  return status;
}

}  // namespace flowfs::fs
