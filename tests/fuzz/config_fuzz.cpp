// SPDX-License-Identifier: BSD-3-Clause
// Any text as flowfsd.toml: it is refused with problems that can be shown, or gives a configuration
// in which every value is one that the table of keys allows.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "daemon/config.hpp"
#include "daemon/keys.hpp"
#include "registry/registry.hpp"

namespace {

using flowfs::daemon::Accounts;
using flowfs::daemon::Config;
using flowfs::daemon::NumberRule;
using flowfs::daemon::Problems;
using flowfs::daemon::Scope;
using flowfs::daemon::Section;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

Accounts accounts() {
  return {.self = {1, 1},
          .user = [](std::string_view name) -> std::optional<Accounts::User> {
            return name == "root" ? std::optional(Accounts::User{0, 0}) : std::nullopt;
          },
          .group = [](std::string_view name) -> std::optional<gid_t> {
            return name == "root" ? std::optional<gid_t>(0) : std::nullopt;
          }};
}

void check_numbers(const Scope& scope, const std::set<Section>& sections) {
  for (const auto& key : flowfs::daemon::all_keys()) {
    const auto* const rule = std::get_if<NumberRule>(&key.rule);
    if (rule == nullptr || !sections.contains(key.section)) {
      continue;
    }
    const std::uint64_t value = rule->field(scope);
    require((rule->max_allowed && value == flowfs::registry::kUnlimited) ||
            (value >= rule->least && value <= rule->most && value % rule->step == 0));
  }
}

void check_config(Config config) {
  require(config.mount.empty() || config.mount.starts_with('/'));
  require(!config.group.empty());
  check_numbers(
      {.config = &config, .settings = &config.defaults},
      {Section::daemon, Section::limits, Section::limits_total, Section::settings, Section::qos});
  std::set<std::string> names;
  for (auto& name : config.names) {
    require(flowfs::registry::Registry::valid_name(name.name));
    require(names.insert(name.name).second);
    require(name.mode <= 0777 && name.accept_mode.value_or(0) <= 0777 &&
            name.dial_mode.value_or(0) <= 0777);
    check_numbers({.config = &config, .settings = &name.settings, .name = &name},
                  {Section::settings, Section::qos});
  }
  std::set<std::string> buses;
  for (auto& bus : config.buses) {
    require(flowfs::registry::Registry::valid_name(bus.name));
    require(buses.insert(bus.name).second);
    require(bus.mode <= 0777 && bus.bus_mode.value_or(0) <= 0777);
    check_numbers({.config = &config, .bus = &bus}, {Section::bus});
  }
}

void check_problems(const Problems& problems) {
  require(!problems.empty());
  std::size_t line = 1;
  for (const auto& problem : problems) {
    require(problem.line >= line && !problem.text.empty());
    require(flowfs::daemon::to_string(problem, "f").starts_with("f:"));
    line = problem.line;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes as text
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto config = flowfs::daemon::parse_config(text, accounts());
  if (config) {
    check_config(std::move(*config));
  } else {
    check_problems(config.error());
  }
  return 0;
}
