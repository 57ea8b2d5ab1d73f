// SPDX-License-Identifier: BSD-3-Clause
#include "cli/mount.hpp"

#include <algorithm>
#include <cstdlib>

#include "base/fd.hpp"
#include "cli/key_value.hpp"

namespace flowfs::cli {
namespace {

constexpr std::string_view kDefaultMount = "/run/flowfs";
constexpr std::size_t kMountinfoLimit = std::size_t{16} << 20U;

std::vector<std::string_view> words_of(std::string_view text, char separator) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::size_t end = text.find(separator);
    words.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return words;
}

bool is_octal(std::string_view text) {
  return text.size() == 3 &&
         std::ranges::all_of(text, [](char digit) { return digit >= '0' && digit <= '7'; });
}

// mountinfo writes blanks and backslashes as \ooo.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\' && is_octal(text.substr(at + 1, 3))) {
      const auto digit = [&](std::size_t index) { return text[at + index] - '0'; };
      plain += static_cast<char>(digit(1) * 64 + digit(2) * 8 + digit(3));
      at += 3;
    } else {
      plain += text[at];
    }
  }
  return plain;
}

std::string_view environment(const char* name) {
  // A single thread runs flowctl, and nothing in it calls setenv.
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string_view{} : std::string_view(value);
}

std::string without_slash(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) {
    path.remove_suffix(1);
  }
  return std::string(path);
}

}  // namespace

std::vector<MountPoint> parse_mountinfo(std::string_view text) {
  std::vector<MountPoint> mounts;
  for (const std::string_view line : words_of(text, '\n')) {
    const std::vector<std::string_view> words = words_of(line, ' ');
    // id parent device root PATH options [tag ...] - TYPE SOURCE OPTIONS
    const auto dash = std::ranges::find(words, "-");
    if (dash - words.begin() < 6 || words.end() - dash < 4) {
      continue;
    }
    mounts.push_back({.path = unescape(words[4]),
                      .type = std::string(dash[1]),
                      .source = unescape(dash[2]),
                      .options = std::string(dash[3])});
  }
  return mounts;
}

std::optional<MountPoint> mounted_at(const std::vector<MountPoint>& mounts, std::string_view path) {
  const auto found = std::find_if(mounts.rbegin(), mounts.rend(), [&](const MountPoint& mount) {
    return mount.path == without_slash(path);
  });
  return found == mounts.rend() ? std::nullopt : std::optional(*found);
}

bool is_flowfs(const MountPoint& mount) {
  return mount.type == "fuse.flowfs" || (mount.type == "fuse" && mount.source == "flowfs");
}

std::string choose_mount(std::string_view option, std::string_view flowfs_mount,
                         std::string_view runtime_dir, const std::vector<MountPoint>& mounts) {
  if (!option.empty()) {
    return without_slash(option);
  }
  if (!flowfs_mount.empty()) {
    return without_slash(flowfs_mount);
  }
  const std::string personal = without_slash(runtime_dir) + "/flowfs";
  const bool only_personal = !runtime_dir.empty() && !mounted_at(mounts, kDefaultMount) &&
                             mounted_at(mounts, personal).has_value();
  return only_personal ? personal : std::string(kDefaultMount);
}

std::vector<MountPoint> current_mounts() {
  const Result<std::string> text = read_file("/proc/self/mountinfo", kMountinfoLimit);
  return text ? parse_mountinfo(*text) : std::vector<MountPoint>{};
}

std::string find_mount(std::string_view option) {
  return choose_mount(option, environment("FLOWFS_MOUNT"), environment("XDG_RUNTIME_DIR"),
                      current_mounts());
}

}  // namespace flowfs::cli
