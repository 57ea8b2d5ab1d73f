// SPDX-License-Identifier: BSD-3-Clause
#include "ipn/bus_path.hpp"

#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "flowfs/af_ipn.h"

namespace flowfs::ipn {
namespace {

std::string variable(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? "" : value;
}

std::string_view without_slashes(std::string_view path) {
  while (path.ends_with('/')) {
    path.remove_suffix(1);
  }
  return path;
}

std::string_view last_component(std::string_view path) {
  return path.substr(path.find_last_of('/') + 1);  // npos + 1 is 0
}

std::string_view parent_of(std::string_view path) {
  return path.substr(0, std::min(path.find_last_of('/'), path.size()));
}

}  // namespace

Surroundings current_surroundings() {
  std::string mount = variable("FLOWFS_MOUNT");
  return {.mount = mount.empty() ? "/run/flowfs" : std::move(mount),
          .one_bus = variable("FLOWFS_IPN_BUS")};
}

Result<std::string> bus_folder(std::string_view path, const Surroundings& surroundings) {
  path = without_slashes(path);
  const std::string buses = std::string(without_slashes(surroundings.mount)).append("/buses/");
  if (path.starts_with(buses)) {
    const std::string_view below = path.substr(buses.size());
    return buses + std::string(below.substr(0, std::min(below.find('/'), below.size())));
  }
  const std::string_view name = last_component(path);
  if (name.empty() || name == "." || name == "..") {
    return fail(EINVAL, "a path that names no bus");
  }
  return buses + (surroundings.one_bus.empty() ? std::string(name) : surroundings.one_bus);
}

Result<std::string> path_of(const sockaddr* address, socklen_t bytes) {
  constexpr std::size_t kPathAt = offsetof(sockaddr_un, sun_path);
  if (address == nullptr || bytes <= kPathAt) {
    return fail(EINVAL, "an address without a path");
  }
  if (address->sa_family != AF_IPN) {
    return fail(EAFNOSUPPORT, "an address of another family");
  }
  const char* const path = reinterpret_cast<const char*>(address) + kPathAt;
  const std::size_t most = std::min<std::size_t>(bytes - kPathAt, PATH_MAX);
  return std::string(path, strnlen(path, most));
}

std::optional<std::string> folder_of_file(std::string_view path) {
  const std::string_view folder = parent_of(path);
  if (last_component(path) != "bus" || last_component(parent_of(folder)) != "buses") {
    return std::nullopt;
  }
  return std::string(folder);
}

std::optional<std::string> bus_of_descriptor(int fd) {
  std::array<char, PATH_MAX> target{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t bytes = readlink(link.c_str(), target.data(), target.size());
  if (bytes <= 0) {
    return std::nullopt;
  }
  std::string_view path(target.data(), static_cast<std::size_t>(bytes));
  // The tree gives each open `bus` a node of its own, so the next look-up takes this one's name.
  constexpr std::string_view kGone = " (deleted)";
  if (path.ends_with(kGone)) {
    path.remove_suffix(kGone.size());
  }
  return folder_of_file(path);
}

}  // namespace flowfs::ipn
