// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/paths.hpp"

#include <unistd.h>

#include <cstdlib>

namespace flowfs::daemon {
namespace {

// The XDG base directory specification: a relative path is to be ignored.
std::optional<std::string> directory(const Environment& environment, const char* name) {
  auto value = environment.variable(name);
  return value && value->starts_with('/') ? value : std::nullopt;
}

// A file or folder of the configuration.
std::string configured(bool rootless, const Environment& environment, const std::string& name) {
  if (!rootless) {
    return "/etc/flowfs/" + name;
  }
  const auto home = directory(environment, "HOME");
  const auto config = directory(environment, "XDG_CONFIG_HOME");
  if (!config && !home) {
    return {};
  }
  return config.value_or(home.value_or("") + "/.config") + "/flowfs/" + name;
}

}  // namespace

Environment system_environment() {
  return {.variable = [](const char* name) -> std::optional<std::string> {
            // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing in this process sets variables
            const char* const value = std::getenv(name);
            return value == nullptr ? std::nullopt : std::optional<std::string>(value);
          },
          .exists = [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }};
}

std::string default_config(bool rootless, const Environment& environment) {
  std::string file = configured(rootless, environment, "flowfsd.toml");
  return environment.exists(file) ? file : std::string{};
}

std::string default_security(bool rootless, const Environment& environment) {
  return configured(rootless, environment, "security");
}

std::string default_mount(bool rootless, const Environment& environment) {
  if (!rootless) {
    return "/run/flowfs";
  }
  const auto runtime = directory(environment, "XDG_RUNTIME_DIR");
  return runtime ? *runtime + "/flowfs" : std::string{};
}

}  // namespace flowfs::daemon
