// SPDX-License-Identifier: BSD-3-Clause
#include "cli/snapshot.hpp"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>

namespace flowfs::cli {
namespace {

// The functions below return 0 or the errno that kept them from looking.

int read_values(const std::string& path, KeyValues& values) {
  const Result<std::string> text = read_attribute(path);
  if (!text) {
    return text.error().error;
  }
  values = KeyValues::parse_lines(*text);
  return 0;
}

bool has_acl(const std::string& path) {
  return getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) > 0;
}

std::string link_target(const std::string& path) {
  std::array<char, 4096> target{};
  const ssize_t bytes = readlink(path.c_str(), target.data(), target.size());
  return bytes > 0 ? std::string(target.data(), static_cast<std::size_t>(bytes)) : "?";
}

int look_at_name(const Common& common, const std::string& entry, NameStatus& name) {
  const std::string path = common.path("names/" + entry);
  struct stat about{};
  if (lstat(path.c_str(), &about) != 0) {
    return errno;
  }
  name.name = entry;
  name.owner = user_name(about.st_uid);
  if (S_ISLNK(about.st_mode)) {
    name.alias_of = link_target(path);
    return 0;
  }
  struct stat dial{};
  if (stat((path + "/dial").c_str(), &dial) != 0) {
    return is_hidden(errno) ? 0 : errno;
  }
  name.open = true;
  name.dial_mode = dial.st_mode;
  name.dial_acl = has_acl(path + "/dial");
  // Its owner may have closed either file alone; the rest of the line is worth showing then.
  const Result<std::string> backlog = read_attribute(path + "/backlog");
  name.backlog = backlog ? trim(*backlog) : "-";
  const int error = read_values(path + "/stats", name.stats);
  return is_hidden(error) ? 0 : error;
}

int look_at_flow(const Common& common, const std::string& entry, FlowStatus& flow) {
  const std::string path = common.path("flows/" + entry);
  const Result<std::string> state = read_attribute(path + "/state");
  if (!state) {
    return state.error().error;
  }
  flow.id = parse_number(entry).value_or(0);
  flow.state = trim(*state);
  if (const int error = read_values(path + "/peer", flow.peer); error != 0) {
    return error;
  }
  if (const auto uid = flow.peer.number("uid")) {
    flow.peer_user = user_name(static_cast<uid_t>(*uid));
  }
  return read_values(path + "/stats", flow.stats);
}

int look_at_user(const Common& common, const std::string& entry, UserStatus& user) {
  const std::string path = common.path("users/" + entry);
  if (const int error = read_values(path + "/usage", user.usage); error != 0) {
    return error;
  }
  user.uid = entry;
  const auto uid = parse_number(entry);
  user.user = uid ? user_name(static_cast<uid_t>(*uid)) : entry;
  return read_values(path + "/limits", user.limits);
}

// Looks at every entry of `folder`; what may not be seen is counted in `hidden`.
template <typename Item, typename LookAt>
int collect(const Common& common, std::string_view folder, LookAt look_at, std::vector<Item>& items,
            std::uint64_t& hidden) {
  const auto entries = list_folder(common.path(folder));
  if (!entries) {
    return entries.error().error;
  }
  for (const std::string& entry : *entries) {
    Item item;
    const int error = look_at(common, entry, item);
    if (error == 0) {
      items.push_back(std::move(item));
    } else if (is_hidden(error)) {
      ++hidden;
    } else if (!has_gone(error)) {
      return error;
    }
  }
  return 0;
}

}  // namespace

bool has_gone(int error) { return error == ENOENT || error == ENODEV || error == ESTALE; }
bool is_hidden(int error) { return error == EACCES || error == EPERM; }

int take_snapshot(const Common& common, Snapshot& snapshot, std::string& object) {
  snapshot.mount = common.mount;
  std::uint64_t closed_names = 0;  // none: a name that is closed is shown as such
  object = common.path("names");
  int error = collect(common, "names", look_at_name, snapshot.names, closed_names);
  if (error == 0) {
    object = common.path("flows");
    error = collect(common, "flows", look_at_flow, snapshot.flows, snapshot.hidden_flows);
  }
  if (error == 0) {
    object = common.path("users");
    error = collect(common, "users", look_at_user, snapshot.users, snapshot.hidden_users);
  }
  count_waiting(snapshot);
  return error;
}

}  // namespace flowfs::cli
