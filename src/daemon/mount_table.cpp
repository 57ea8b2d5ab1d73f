// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/mount_table.hpp"

#include <algorithm>
#include <cstddef>
#include <ranges>

namespace flowfs::daemon {
namespace {

constexpr std::string_view kBlank = " \t\r";

std::string_view next_field(std::string_view& line) {
  const std::size_t begin = std::min(line.find_first_not_of(' '), line.size());
  const std::size_t end = std::min(line.find(' ', begin), line.size());
  const std::string_view field = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return field;
}

std::string_view next_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

std::string_view trim(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(kBlank), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(kBlank) + 1);
}

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// id parent major:minor root POINT options [optional ...] - TYPE SOURCE options
std::optional<MountEntry> parse_line(std::string_view line, std::string_view point) {
  for (int skipped = 0; skipped < 4; ++skipped) {
    next_field(line);
  }
  MountEntry entry{.point = unescape_mount_path(next_field(line)), .type = {}, .source = {}};
  const std::size_t separator = line.find(" - ");
  if (entry.point != point || separator == std::string_view::npos) {
    return std::nullopt;
  }
  line.remove_prefix(separator + 3);
  entry.type = next_field(line);
  entry.source = unescape_mount_path(next_field(line));
  return entry;
}

}  // namespace

bool is_flowfs(const MountEntry& entry) {
  return entry.type == "fuse.flowfs" || (entry.type == "fuse" && entry.source == "flowfs");
}

std::vector<MountEntry> mounts_at(std::string_view mountinfo, std::string_view point) {
  std::vector<MountEntry> found;
  while (!mountinfo.empty()) {
    if (auto entry = parse_line(next_line(mountinfo), point)) {
      found.push_back(std::move(*entry));
    }
  }
  return found;
}

std::string unescape_mount_path(std::string_view text) {
  std::string path;
  path.reserve(text.size());
  while (!text.empty()) {
    if (text.size() >= 4 && text[0] == '\\' && text[1] <= '3' &&
        std::ranges::all_of(text.substr(1, 3), is_octal)) {
      path += static_cast<char>((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
      text.remove_prefix(4);
    } else {
      path += text.front();
      text.remove_prefix(1);
    }
  }
  return path;
}

bool user_allow_other(std::string_view fuse_conf) {
  while (!fuse_conf.empty()) {
    if (trim(next_line(fuse_conf)) == "user_allow_other") {
      return true;
    }
  }
  return false;
}

}  // namespace flowfs::daemon
