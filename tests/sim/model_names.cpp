// SPDX-License-Identifier: BSD-3-Clause
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "model.hpp"

namespace flowfs::registry::sim {

namespace {

auto number(auto id) { return std::to_underlying(id); }

}  // namespace

std::string text_of(const Effect& effect) {
  switch (effect.kind) {
    case Effect::Kind::established:
      return fmt::format("established {} with {}", number(effect.flow), number(effect.peer));
    case Effect::Kind::failed:
      return fmt::format("failed {} error {}", number(effect.flow), effect.error);
    case Effect::Kind::peer_gone:
      return fmt::format("peer_gone {} lost {}", number(effect.flow), number(effect.peer));
    case Effect::Kind::event:
      break;
  }
  const Event& event = effect.event;
  return fmt::format("event {} {} {} {}", to_string(event.kind), event.object, event.uid,
                     event.detail);
}

void Model::event(EventKind kind, const std::string& object, uid_t uid, const std::string& detail) {
  effects_.push_back(fmt::format("event {} {} {} {}", to_string(kind), object, uid, detail));
}

// --- look-ups
// --------------------------------------------------------------------------------------

Model::NameModel* Model::find_name(NameId id) {
  const auto found = std::ranges::find_if(names_, [&](const auto& n) { return n.name.id == id; });
  return found == names_.end() ? nullptr : &*found;
}

Model::NameModel* Model::find_name(std::string_view text) {
  const auto found =
      std::ranges::find_if(names_, [&](const auto& n) { return n.name.name == text; });
  return found == names_.end() ? nullptr : &*found;
}

Alias* Model::find_alias(std::string_view text) {
  const auto found = std::ranges::find(aliases_, text, &Alias::name);
  return found == aliases_.end() ? nullptr : &*found;
}

Model::EndModel* Model::find_end(FlowId flow) {
  const auto found = std::ranges::find_if(ends_, [&](const auto& e) { return e.end.id == flow; });
  return found == ends_.end() ? nullptr : &*found;
}

int Model::text_error(std::string_view text) const {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@-";
  if (text.size() > 255) {
    return ENAMETOOLONG;
  }
  const bool bad = text.empty() || text.starts_with('.') ||
                   text.find_first_not_of(kAllowed) != std::string_view::npos;
  return bad ? EINVAL : 0;
}

// --- quotas
// ----------------------------------------------------------------------------------------

std::vector<uid_t> Model::holders_of(Resource resource) const {
  std::vector<uid_t> uids;
  const auto add = [&uids](const auto& list, auto uid_of) {
    std::ranges::transform(list, std::back_inserter(uids), uid_of);
  };
  if (resource == Resource::flows) {
    add(ends_, [](const EndModel& end) { return end.end.opener.uid; });
  } else if (resource == Resource::buses) {
    add(buses_, [](const BusModel& bus) { return bus.payer; });
  } else if (resource == Resource::ports) {
    add(ports_, [](const Port& port) { return port.opener.uid; });
  } else {
    add(names_, [](const NameModel& name) { return name.name.owner; });
    add(aliases_, [](const Alias& alias) { return alias.owner; });
  }
  return uids;
}

std::uint64_t Model::used(uid_t uid, Resource resource) const {
  return static_cast<std::uint64_t>(std::ranges::count(holders_of(resource), uid));
}

std::uint64_t Model::total(Resource resource) const { return holders_of(resource).size(); }

int Model::charge_error(uid_t uid, Resource resource) const {
  const auto index = static_cast<std::size_t>(resource);
  std::uint64_t limit = uid == 0 ? kUnlimited : config_.per_uid[index];
  if (const auto set = limits_.find({uid, resource}); set != limits_.end()) {
    limit = set->second;
  }
  if (used(uid, resource) >= limit) {
    return EDQUOT;
  }
  const std::uint64_t whole = config_.total[index];
  const std::uint64_t taken = total(resource);
  if (taken >= whole) {
    return ENFILE;
  }
  const std::uint64_t left = whole - taken - 1;  // after this one
  if (uid == 0 || left >= whole / 20) {
    return 0;
  }
  const std::uint64_t mine = used(uid, resource);
  const std::uint64_t share = (left + 1 + mine) / (users_of(resource, uid) + 1);
  return left < whole / 1000 || (mine > 0 && mine >= share) ? ENFILE : 0;
}

// How many uids but root hold any of it, or would if `newcomer` took one.
std::uint64_t Model::users_of(Resource resource, uid_t newcomer) const {
  const std::vector<uid_t> holders = holders_of(resource);
  std::set<uid_t> uids(holders.begin(), holders.end());
  uids.insert(newcomer);
  uids.erase(0);
  return uids.size();
}

void Model::set_limit(uid_t uid, Resource resource, std::uint64_t limit) {
  limits_[{uid, resource}] = limit;
}

// --- names
// -----------------------------------------------------------------------------------------

int Model::create_name(std::string_view text, Opener who, const NameSettings& settings, NameId id) {
  if (const int error = text_error(text); error != 0) {
    return error;
  }
  if (find_name(text) != nullptr || find_alias(text) != nullptr) {
    return EEXIST;
  }
  if (const int error = charge_error(who.uid, Resource::names); error != 0) {
    return error;
  }
  reused_id_ |= !name_ids_.insert(id).second;
  names_.push_back({{id, std::string(text), who.uid, settings, {}}, {}});
  event(EventKind::name_created, fmt::format("names/{}", text), who.uid);
  return 0;
}

int Model::create_alias(std::string_view text, std::string_view target, Opener who, NameId id) {
  if (const int error = text_error(text); error != 0) {
    return error;
  }
  if (target.empty() || target.size() > 4095) {
    return target.empty() ? EINVAL : ENAMETOOLONG;
  }
  if (find_name(text) != nullptr || find_alias(text) != nullptr) {
    return EEXIST;
  }
  if (const int error = charge_error(who.uid, Resource::names); error != 0) {
    return error;
  }
  reused_id_ |= !name_ids_.insert(id).second;
  aliases_.push_back({id, std::string(text), std::string(target), who.uid});
  event(EventKind::alias_created, fmt::format("names/{}", text), who.uid);
  return 0;
}

int Model::remove_name(std::string_view text, uid_t by) {
  NameModel* name = find_name(text);
  if (name == nullptr) {
    return find_alias(text) != nullptr ? ENOTDIR : ENOENT;
  }
  const NameId id = name->name.id;
  if (std::ranges::any_of(ends_, [&](const EndModel& end) {
        return end.end.name == id && end.end.state != FlowState::alloc_pending &&
               end.end.state != FlowState::deallocated;
      })) {
    return EBUSY;
  }
  while (EndModel* client = next_client(id)) {
    fail(*client, ENOENT);
  }
  event(EventKind::name_removed, fmt::format("names/{}", text), by);
  std::erase_if(names_, [&](const NameModel& n) { return n.name.id == id; });
  return 0;
}

int Model::remove_alias(std::string_view text, uid_t by) {
  if (find_alias(text) == nullptr) {
    return find_name(text) != nullptr ? EISDIR : ENOENT;
  }
  event(EventKind::alias_removed, fmt::format("names/{}", text), by);
  std::erase_if(aliases_, [&](const Alias& alias) { return alias.name == text; });
  return 0;
}

int Model::rename(std::string_view from, std::string_view to, bool no_replace, uid_t by) {
  if (const int error = text_error(to); error != 0) {
    return error;
  }
  NameModel* name = find_name(from);
  Alias* alias = find_alias(from);
  if (name == nullptr && alias == nullptr) {
    return ENOENT;
  }
  if (from == to) {
    return 0;
  }
  if (find_name(to) != nullptr) {
    return EEXIST;
  }
  if (find_alias(to) != nullptr) {
    if (no_replace || alias == nullptr) {
      return EEXIST;
    }
    remove_alias(to, by);
    alias = find_alias(from);
  }
  event(EventKind::name_renamed, fmt::format("names/{}", from), by, fmt::format("to={}", to));
  (name != nullptr ? name->name.name : alias->name) = to;
  return 0;
}

int Model::exchange(std::string_view one, std::string_view two, uid_t by) {
  const auto text_at = [this](std::string_view text) -> std::string* {
    if (NameModel* name = find_name(text)) {
      return &name->name.name;
    }
    Alias* alias = find_alias(text);
    return alias == nullptr ? nullptr : &alias->name;
  };
  std::string* first = text_at(one);
  std::string* second = text_at(two);
  if (first == nullptr || second == nullptr) {
    return ENOENT;
  }
  if (first != second) {
    std::swap(*first, *second);
    event(EventKind::name_renamed, fmt::format("names/{}", one), by,
          fmt::format("exchanged={}", two));
  }
  return 0;
}

void Model::set_settings(NameId id, const NameSettings& settings) {
  NameModel* name = find_name(id);
  name->name.settings = settings;
  admit(*name);
}

}  // namespace flowfs::registry::sim
