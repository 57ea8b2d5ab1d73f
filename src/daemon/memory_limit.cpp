// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/memory_limit.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>

#include "base/fd.hpp"

namespace flowfs::daemon {
namespace {

using registry::Resource;

constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

// A number at the beginning of a file, or kNone (no such file, `max`).
std::uint64_t number_in(const std::string& path) {
  const auto text = read_file(path);
  std::uint64_t number = kNone;
  if (text) {
    std::from_chars(text->data(), text->data() + text->size(), number);
  }
  return number;
}

// The smallest limit of a cgroup and of those above it.
std::uint64_t smallest_above(const std::string& root, std::string group, const char* file) {
  std::uint64_t smallest = number_in(root + group + "/" + file);
  while (!group.empty()) {
    group.erase(group.rfind('/'));
    smallest = std::min(smallest, number_in(root + group + "/" + file));
  }
  return smallest;
}

// One line of /proc/self/cgroup: `ID:CONTROLLERS:PATH`.
std::uint64_t limit_of_line(std::string_view line) {
  const auto first = line.find(':');
  const auto second = line.find(':', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) {
    return kNone;
  }
  const std::string_view controllers = line.substr(first + 1, second - first - 1);
  std::string group(line.substr(second + 1));
  if (!group.starts_with('/')) {
    return kNone;
  }
  if (group == "/") {
    group.clear();
  }
  if (controllers.empty()) {
    return smallest_above("/sys/fs/cgroup", group, "memory.max");
  }
  return controllers == "memory"
             ? smallest_above("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes")
             : kNone;
}

std::uint64_t cgroup_limit() {
  const auto text = read_file("/proc/self/cgroup");
  std::uint64_t smallest = kNone;
  for (std::string_view rest = text ? *text : std::string_view{}; !rest.empty();) {
    const auto end = std::min(rest.find('\n'), rest.size());
    smallest = std::min(smallest, limit_of_line(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return smallest;
}

// A resource limit, less what /proc/self/statm says of it in its `field`th number (pages).
std::uint64_t left_of(int resource, std::size_t field) {
  rlimit limit{};
  if (getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0 ||
      limit.rlim_cur == RLIM_INFINITY) {
    return kNone;
  }
  const auto text = read_file("/proc/self/statm");
  std::uint64_t pages = 0;
  std::string_view rest = text ? *text : std::string_view{};
  for (std::size_t i = 0; i < field; ++i) {
    rest.remove_prefix(std::min(rest.find(' ') + 1, rest.size()));
  }
  std::from_chars(rest.data(), rest.data() + rest.size(), pages);
  const std::uint64_t used = pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}

std::uint64_t machine_memory() {
  return static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// What a cgroup would count for this process now: a little under 8 MiB, with room for libraries.
constexpr std::uint64_t kOwnBytes = std::uint64_t{8} << 20;

bool lower(registry::Users::Config& limits, Resource resource, std::uint64_t most) {
  const auto index = static_cast<std::size_t>(resource);
  if (limits.total[index] <= most) {
    return false;
  }
  limits.total[index] = most;
  limits.per_uid[index] = std::min(limits.per_uid[index], std::max<std::uint64_t>(1, most / 10));
  return true;
}

}  // namespace

std::uint64_t available_memory() {
  const std::uint64_t whole = std::min(cgroup_limit(), machine_memory());
  const std::uint64_t left = whole > kOwnBytes ? whole - kOwnBytes : 0;
  constexpr std::size_t kAllPages = 0;
  constexpr std::size_t kDataPages = 5;
  return std::min({left, left_of(RLIMIT_AS, kAllPages), left_of(RLIMIT_DATA, kDataPages)});
}

// Half of it for messages and segments; the rest for what the daemon keeps of each object: 4 KiB of
// a bus, 2 KiB of an end, a name or a port, 1 KiB of an open file or a waiting request. (Measured:
// 3.2 KiB a bus, 1.0 to 1.2 a port with its file, 0.9 a name, 0.8 to 1.1 an end with its file, 0.3
// an attribute file.)
bool fit_to_memory(registry::Users::Config& limits, std::uint64_t available) {
  constexpr std::uint64_t kKiB = 1024;
  const struct {
    Resource resource;
    std::uint64_t most;
  } shares[] = {
      {Resource::bytes, available / 2},
      {Resource::flows, available / 8 / (2 * kKiB)},
      {Resource::names, available / 16 / (2 * kKiB)},
      {Resource::buses, available / 16 / (4 * kKiB)},
      {Resource::ports, available / 16 / (2 * kKiB)},
      {Resource::descriptors, available / 8 / kKiB},
      {Resource::held, available / 16 / kKiB},
  };
  static_assert(std::size(shares) == registry::kResources);
  bool lowered = false;
  for (const auto& share : shares) {
    lowered = lower(limits, share.resource, share.most) || lowered;
  }
  return lowered;
}

}  // namespace flowfs::daemon
