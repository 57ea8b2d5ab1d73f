// SPDX-License-Identifier: BSD-3-Clause
// What `flowctl status` knows of the tree, and how it shows it. Pure.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/key_value.hpp"

namespace flowfs::cli {

// One entry of names/. Where its folder keeps the caller out, `open` is false and only the owner is
// known.
struct NameStatus {
  std::string name;
  std::string owner;
  std::string alias_of;  // not empty: a symbolic link, and nothing else applies
  bool open = false;
  mode_t dial_mode = 0;
  bool dial_acl = false;
  std::string backlog;  // as written: a number or `max`
  // Counted from the flows that the caller may see, unless `stats` itself tells.
  std::uint64_t waiting_servers = 0;
  std::uint64_t waiting_clients = 0;
  KeyValues stats;
};

// One flow end that the caller may see.
struct FlowStatus {
  std::uint64_t id = 0;
  std::string state;
  KeyValues peer;
  std::string peer_user;  // empty while there is no peer
  KeyValues stats;
};

struct UserStatus {
  std::string uid;
  std::string user;
  KeyValues usage;
  KeyValues limits;
};

struct Snapshot {
  std::string mount;
  std::vector<NameStatus> names;
  std::vector<FlowStatus> flows;
  std::vector<UserStatus> users;
  // Objects that are there but are not the caller's to read.
  std::uint64_t hidden_flows = 0;
  std::uint64_t hidden_users = 0;
};

// Counts the ends that wait, by name, into `snapshot.names`.
void count_waiting(Snapshot& snapshot);

// "rw--w----", with `+` behind it where an ACL says more.
std::string mode_in_letters(mode_t mode, bool acl);

std::string render(const Snapshot& snapshot, std::size_t width);
// The last of its tables: what each user uses and may use.
std::string render_users(const Snapshot& snapshot, std::size_t width);
// "flows (3; 2 of others, hidden)", with its newline.
std::string heading(std::string_view what, std::size_t shown, std::uint64_t hidden,
                    std::string_view why);
nlohmann::ordered_json values_as_json(const KeyValues& values);
nlohmann::ordered_json as_json(const Snapshot& snapshot);

}  // namespace flowfs::cli
