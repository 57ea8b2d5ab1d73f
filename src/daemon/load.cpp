// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/load.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <limits>

#include "base/fd.hpp"

namespace flowfs::daemon {
namespace {

constexpr std::size_t kMostRecord = 1 << 20;  // of the name service: a group with many members

// A number that can be an id: the largest means "no id" to the kernel.
std::optional<std::uint32_t> parse_id(std::string_view text) {
  std::uint32_t id = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || rest != text.data() + text.size() ||
      id == std::numeric_limits<std::uint32_t>::max()) {
    return std::nullopt;
  }
  return id;
}

// One of the get...._r calls, with a buffer as large as it asks for.
template <typename Record, typename Call>
bool look_up(Record& record, std::string& buffer, const Call& call) {
  Record* found = nullptr;
  buffer.resize(1024);
  while (call(&record, buffer.data(), buffer.size(), &found) == ERANGE &&
         buffer.size() < kMostRecord) {
    buffer.resize(buffer.size() * 2);
  }
  return found != nullptr;
}

std::optional<Accounts::User> find_user(std::string_view text) {
  passwd record{};
  std::string buffer;
  const std::string name(text);
  const auto by_name = [&](auto... rest) { return ::getpwnam_r(name.c_str(), rest...); };
  if (look_up(record, buffer, by_name)) {
    return Accounts::User{record.pw_uid, record.pw_gid};
  }
  const auto id = parse_id(text);
  if (!id) {
    return std::nullopt;
  }
  // A number needs no entry; without one, the group of the same number is the best guess.
  const auto by_id = [&](auto... rest) { return ::getpwuid_r(*id, rest...); };
  return look_up(record, buffer, by_id) ? Accounts::User{*id, record.pw_gid}
                                        : Accounts::User{*id, *id};
}

std::optional<gid_t> find_group(std::string_view text) {
  group record{};
  std::string buffer;
  const std::string name(text);
  const auto by_name = [&](auto... rest) { return ::getgrnam_r(name.c_str(), rest...); };
  return look_up(record, buffer, by_name) ? std::optional<gid_t>(record.gr_gid) : parse_id(text);
}

}  // namespace

Accounts system_accounts() {
  return {.self = {::geteuid(), ::getegid()}, .user = find_user, .group = find_group};
}

std::expected<Config, std::vector<std::string>> load_config(const std::string& file) {
  std::string text;
  if (!file.empty()) {
    Result<std::string> read = read_file(file);
    if (!read) {
      return std::unexpected(
          std::vector{fmt::format("{}: cannot be read: {}", file, read.error().message())});
    }
    text = std::move(*read);
  }
  auto config = parse_config(text, system_accounts());
  if (config) {
    return std::move(*config);
  }
  std::vector<std::string> lines;
  for (const Problem& problem : config.error()) {
    lines.push_back(to_string(problem, file));
  }
  return std::unexpected(std::move(lines));
}

std::optional<gid_t> group_of(const std::string& group) { return find_group(group); }

}  // namespace flowfs::daemon
