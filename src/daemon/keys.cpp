// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/keys.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <type_traits>

#include "base/quoted.hpp"
#include "bus/ethernet_bus.hpp"
#include "registry/registry.hpp"

namespace flowfs::daemon {
namespace {

using registry::Balance;
using registry::BusPolicy;
using registry::BusSettings;
using registry::Delivery;
using registry::kUnlimited;
using registry::Resource;

constexpr std::uint64_t kMostObjects = 1'000'000;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 50;
constexpr std::uint64_t kLongestTimeUs = 1'000'000'000'000;  // 11 days, as in the tree
constexpr std::uint64_t kMostDepth = std::uint64_t{1} << 30;
constexpr std::uint64_t kMostMessage = std::uint64_t{64} << 20;
constexpr std::uint64_t kFewestRequests = 100;  // with less, nobody could work
constexpr std::uint64_t kMostRequests = 1'000'000'000;
constexpr std::size_t kLongestPath = 4095;
constexpr std::size_t kLongestGroup = 255;

template <Resource resource>
std::uint64_t& per_uid(const Scope& scope) {
  return scope.config->limits.per_uid[static_cast<std::size_t>(resource)];
}

template <Resource resource>
std::uint64_t& in_total(const Scope& scope) {
  return scope.config->limits.total[static_cast<std::size_t>(resource)];
}

constexpr NumberRule limit(std::uint64_t& (*field)(const Scope&), std::uint64_t most) {
  return {.field = field, .least = 0, .most = most, .max_allowed = true};
}

template <std::string Config::* field>
bool set_path(const Scope& scope, std::string_view text) {
  if (!text.starts_with('/') || text.size() > kLongestPath || text.find('\0') != text.npos) {
    return false;
  }
  scope.config->*field = text;
  return true;
}

constexpr std::array kLevels{std::string_view{"error"}, std::string_view{"warning"},
                             std::string_view{"notice"}, std::string_view{"info"},
                             std::string_view{"debug"}};

std::string show_level(const Scope& scope) {
  return std::string(kLevels[static_cast<std::size_t>(scope.config->log_level)]);
}

bool set_group(const Scope& scope, std::string_view text) {
  if (text.empty() || text.size() > kLongestGroup || text.find('\0') != text.npos) {
    return false;
  }
  scope.config->group = text;
  return true;
}

// `256:4096 1024:2048`: block sizes, growing, and how many of each.
std::optional<fs::PoolSizes> parse_sizes(std::string_view text) {
  fs::PoolSizes sizes;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&at, end](std::uint32_t& value) {
    const auto [rest, error] = std::from_chars(at, end, value);
    at = rest;
    return error == std::errc{};
  };
  const auto character = [&at, end](char wanted) {
    const bool there = at != end && *at == wanted;
    at += there ? 1 : 0;
    return there;
  };
  do {
    pool::PoolGeometry::Size& size = sizes.emplace_back();
    if (!number(size.block_bytes) || !character(':') || !number(size.blocks)) {
      return std::nullopt;
    }
  } while (at != end && character(' ') && sizes.size() < FLOWFS_POOL_CLASSES_MOST);
  const bool good = at == end && pool::PoolGeometry::plan(sizes, 1).has_value();
  return good ? std::optional(sizes) : std::nullopt;
}

template <fs::PoolSizes fs::PoolOptions::* field>
bool set_sizes(const Scope& scope, std::string_view text) {
  auto sizes = parse_sizes(text);
  if (sizes) {
    scope.config->pools.*field = std::move(*sizes);
    return true;
  }
  return false;
}

template <fs::PoolSizes fs::PoolOptions::* field>
std::string show_sizes(const Scope& scope) {
  std::string text;
  for (const pool::PoolGeometry::Size& size : scope.config->pools.*field) {
    text += fmt::format("{}{}:{}", text.empty() ? "" : " ", size.block_bytes, size.blocks);
  }
  return text;
}

bool set_balance(const Scope& scope, std::string_view text) {
  for (const Balance balance : {Balance::fifo, Balance::round_robin, Balance::least_flows}) {
    if (text == registry::to_string(balance)) {
      scope.settings->balance = balance;
      return true;
    }
  }
  return false;
}

std::optional<mode_t> parse_mode(std::string_view text) {
  unsigned mode = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc{} || rest != text.data() + text.size() || mode > 0777 || text.size() > 4) {
    return std::nullopt;
  }
  return static_cast<mode_t>(mode);
}

bool set_mode(const Scope& scope, std::string_view text) {
  const std::optional<mode_t> mode = parse_mode(text);
  scope.object->mode = mode.value_or(scope.object->mode);
  return mode.has_value();
}

template <std::optional<mode_t> fs::DeclaredName::* field>
bool set_optional_mode(const Scope& scope, std::string_view text) {
  scope.name->*field = parse_mode(text);
  return (scope.name->*field).has_value();
}

bool set_bus_mode(const Scope& scope, std::string_view text) {
  scope.bus->bus_mode = parse_mode(text);
  return scope.bus->bus_mode.has_value();
}

std::string show_mode(const Scope& scope) { return fmt::format("{:04o}", scope.object->mode); }

// A bus that is an Ethernet takes no longer messages than frames.
std::uint64_t longest_of(BusPolicy policy) {
  return policy == BusPolicy::broadcast ? kMostMessage : bus::EthernetBus::kMostFrame;
}

bool set_policy(const Scope& scope, std::string_view text) {
  for (const BusPolicy policy :
       {BusPolicy::broadcast, BusPolicy::ethernet_switch, BusPolicy::ethernet_hub}) {
    if (text == registry::to_string(policy)) {
      BusSettings& settings = scope.bus->settings;
      settings.policy = policy;
      settings.mtu_bytes = std::min(settings.mtu_bytes, longest_of(policy));
      return true;
    }
  }
  return false;
}

bool set_delivery(const Scope& scope, std::string_view text) {
  for (const Delivery delivery : {Delivery::lossy, Delivery::lossless}) {
    if (text == registry::to_string(delivery)) {
      scope.bus->settings.delivery = delivery;
      return true;
    }
  }
  return false;
}

template <std::uint64_t registry::BusSettings::* field>
std::uint64_t& of_bus(const Scope& scope) {
  return scope.bus->settings.*field;
}

bool set_name(const Scope& scope, std::string_view text) {
  if (!registry::Registry::valid_name(text)) {
    return false;
  }
  scope.object->name = text;
  return true;
}

// The user's primary group is taken too. `group` overrides it as it is read after `user`.
bool set_user(const Scope& scope, std::string_view text) {
  const std::optional<Accounts::User> user = scope.accounts->user(text);
  if (user) {
    scope.object->uid = user->uid;
    scope.object->gid = user->gid;
  }
  return user.has_value();
}

bool set_object_group(const Scope& scope, std::string_view text) {
  const std::optional<gid_t> group = scope.accounts->group(text);
  scope.object->gid = group.value_or(scope.object->gid);
  return group.has_value();
}

std::string show_nothing(const Scope&) { return {}; }

constexpr std::string_view kNames =
    "1 to 255 letters, digits and . _ : @ - that do not begin with a dot";

constexpr std::string_view kUsers = "the name or number of a user of this system";

constexpr std::string_view kGroups = "the name or number of a group of this system";

constexpr std::string_view kSizes =
    "up to 16 times BYTES:BLOCKS, the bytes growing and multiples of 64";

constexpr std::string_view kModes = R"("0000" to "0777", octal)";

// In the order in which they are read where the order matters: `user` before `group`, `policy`
// before `mtu`.
const std::array kKeys{
    Key{Section::daemon, "mount",
        TextRule{set_path<&Config::mount>, show_nothing, "an absolute path"}},
    Key{Section::daemon, "log_level",
        TextRule{[](const Scope& scope, std::string_view text) {
                   return log::parse_level(text, scope.config->log_level);
                 },
                 show_level, R"("error", "warning", "notice", "info" or "debug")"}},
    Key{Section::daemon, "group",
        TextRule{set_group, [](const Scope& scope) { return scope.config->group; },
                 "the name of a group"}},
    Key{Section::daemon, "hot_ring",
        NumberRule{
            [](const Scope& scope) -> std::uint64_t& { return scope.config->hot_ring_bytes; }, 4096,
            1'048'576, false, 4096}},
    Key{Section::daemon, "longest_message",
        NumberRule{[](const Scope& scope) -> std::uint64_t& {
                     return scope.config->longest_message_bytes;
                   },
                   registry::kLongestMessage, kMostMessage, false}},

    Key{Section::daemon, "direct",
        FlagRule{[](const Scope& scope) -> bool& { return scope.config->direct; }}},
    Key{Section::daemon, "passthrough",
        FlagRule{[](const Scope& scope) -> bool& { return scope.config->passthrough; }}},
    Key{Section::daemon, "security",
        TextRule{set_path<&Config::security>,
                 [](const Scope& scope) {
                   const std::string& set = scope.config->security;
                   return set.empty() ? fs::Options{}.security : set;
                 },
                 "an absolute path"}},

    Key{Section::pools, "shared",
        TextRule{set_sizes<&fs::PoolOptions::shared>, show_sizes<&fs::PoolOptions::shared>,
                 kSizes}},
    Key{Section::pools, "personal",
        TextRule{set_sizes<&fs::PoolOptions::personal>, show_sizes<&fs::PoolOptions::personal>,
                 kSizes}},
    Key{Section::pools, "shards",
        NumberRule{[](const Scope& scope) -> std::uint64_t& { return scope.config->pools.shards; },
                   1, FLOWFS_POOL_SHARDS_MOST, false}},
    Key{Section::pools, "prefault",
        FlagRule{[](const Scope& scope) -> bool& { return scope.config->pools.prefault; }}},
    Key{Section::pools, "lock",
        FlagRule{[](const Scope& scope) -> bool& { return scope.config->pools.lock; }}},

    Key{Section::limits, "names", limit(per_uid<Resource::names>, kMostObjects)},
    Key{Section::limits, "flows", limit(per_uid<Resource::flows>, kMostObjects)},
    Key{Section::limits, "bytes", limit(per_uid<Resource::bytes>, kMostBytes)},
    Key{Section::limits, "descriptors", limit(per_uid<Resource::descriptors>, kMostObjects)},
    Key{Section::limits, "held", limit(per_uid<Resource::held>, kMostObjects)},
    Key{Section::limits, "buses", limit(per_uid<Resource::buses>, kMostObjects)},
    Key{Section::limits, "ports", limit(per_uid<Resource::ports>, kMostObjects)},
    Key{Section::limits, "requests_per_second",
        NumberRule{
            [](const Scope& scope) -> std::uint64_t& { return scope.config->requests_per_second; },
            kFewestRequests, kMostRequests, true}},

    Key{Section::limits_total, "names", limit(in_total<Resource::names>, kMostObjects)},
    Key{Section::limits_total, "flows", limit(in_total<Resource::flows>, kMostObjects)},
    Key{Section::limits_total, "bytes", limit(in_total<Resource::bytes>, kMostBytes)},
    Key{Section::limits_total, "descriptors", limit(in_total<Resource::descriptors>, kMostObjects)},
    Key{Section::limits_total, "held", limit(in_total<Resource::held>, kMostObjects)},
    Key{Section::limits_total, "buses", limit(in_total<Resource::buses>, kMostObjects)},
    Key{Section::limits_total, "ports", limit(in_total<Resource::ports>, kMostObjects)},

    Key{Section::settings, "backlog",
        limit([](const Scope& scope) -> std::uint64_t& { return scope.settings->backlog; },
              kMostObjects)},
    Key{Section::settings, "dial_timeout",
        limit([](const Scope& scope) -> std::uint64_t& { return scope.settings->dial_timeout_us; },
              kLongestTimeUs)},
    Key{Section::settings, "balance",
        TextRule{set_balance,
                 [](const Scope& scope) {
                   return std::string(registry::to_string(scope.settings->balance));
                 },
                 R"("fifo", "round-robin" or "least-flows")"}},
    Key{Section::settings, "mtu",
        NumberRule{[](const Scope& scope) -> std::uint64_t& { return scope.settings->mtu_bytes; },
                   1, kMostMessage, false, 1, "daemon.longest_message",
                   [](const Scope& scope) { return scope.config->longest_message_bytes; }}},
    Key{Section::settings, "depth",
        NumberRule{[](const Scope& scope) -> std::uint64_t& { return scope.settings->depth_bytes; },
                   1, kMostDepth, false}},

    Key{Section::qos, "loss",
        NumberRule{
            [](const Scope& scope) -> std::uint64_t& { return scope.settings->qos.loss_ppm; }, 0,
            1'000'000, false}},
    Key{Section::qos, "ordered",
        FlagRule{[](const Scope& scope) -> bool& { return scope.settings->qos.ordered; }}},
    Key{Section::qos, "delay",
        NumberRule{
            [](const Scope& scope) -> std::uint64_t& { return scope.settings->qos.delay_us; }, 1,
            kLongestTimeUs, true}},
    Key{Section::qos, "bandwidth",
        NumberRule{
            [](const Scope& scope) -> std::uint64_t& { return scope.settings->qos.bandwidth; }, 0,
            kMostBytes, false}},
    Key{Section::qos, "timeout",
        NumberRule{
            [](const Scope& scope) -> std::uint64_t& { return scope.settings->qos.timeout_us; }, 1,
            kLongestTimeUs, true}},

    Key{Section::name, "name", TextRule{set_name, show_nothing, kNames}},
    Key{Section::name, "user", TextRule{set_user, show_nothing, kUsers}},
    Key{Section::name, "group", TextRule{set_object_group, show_nothing, kGroups}},
    Key{Section::name, "mode", TextRule{set_mode, show_mode, kModes}},
    Key{Section::name, "accept_mode",
        TextRule{set_optional_mode<&fs::DeclaredName::accept_mode>, show_nothing, kModes}},
    Key{Section::name, "direct",
        FlagRule{[](const Scope& scope) -> bool& { return scope.settings->direct; }}},
    Key{Section::name, "dial_mode",
        TextRule{set_optional_mode<&fs::DeclaredName::dial_mode>, show_nothing, kModes}},

    Key{Section::bus, "name", TextRule{set_name, show_nothing, kNames}},
    Key{Section::bus, "user", TextRule{set_user, show_nothing, kUsers}},
    Key{Section::bus, "group", TextRule{set_object_group, show_nothing, kGroups}},
    Key{Section::bus, "mode", TextRule{set_mode, show_mode, kModes}},
    Key{Section::bus, "bus_mode", TextRule{set_bus_mode, show_nothing, kModes}},
    Key{Section::bus, "policy",
        TextRule{set_policy,
                 [](const Scope& scope) {
                   return std::string(registry::to_string(scope.bus->settings.policy));
                 },
                 R"("broadcast", "switch" or "hub")"}},
    Key{Section::bus, "delivery",
        TextRule{
            set_delivery,
            [](const Scope&
                   scope) { return std::string(registry::to_string(scope.bus->settings.delivery)); },
            R"("lossy" or "lossless")"}},
    Key{Section::bus, "mtu",
        NumberRule{of_bus<&BusSettings::mtu_bytes>, 1, kMostMessage, false, 1,
                   "what its policy allows",
                   [](const Scope& scope) { return longest_of(scope.bus->settings.policy); }}},
    Key{Section::bus, "depth", NumberRule{of_bus<&BusSettings::depth_bytes>, 1, kMostDepth, false}},
    Key{Section::bus, "history",
        NumberRule{of_bus<&BusSettings::history>, 0, registry::kMostHistory, false}},
    Key{Section::bus, "writers",
        NumberRule{of_bus<&BusSettings::writers>, 1, registry::kMostPorts, true}},
    Key{Section::bus, "ports",
        NumberRule{of_bus<&BusSettings::ports>, 1, registry::kMostPorts, false}},
    Key{Section::bus, "evict", NumberRule{of_bus<&BusSettings::evict_us>, 1, kLongestTimeUs, true}},
};

std::string allowed(const NumberRule& rule) {
  return fmt::format("{} to {}{}{}", rule.least,
                     rule.bound.empty() ? fmt::format("{}", rule.most) : std::string(rule.bound),
                     rule.step > 1 ? fmt::format(", a multiple of {}", rule.step) : "",
                     rule.max_allowed ? R"( or "max")" : "");
}
std::string allowed(const FlagRule&) { return "true or false"; }
std::string allowed(const TextRule& rule) { return std::string(rule.allowed); }

std::string show(const NumberRule& rule, const Scope& scope) {
  const std::uint64_t value = rule.field(scope);
  return value == kUnlimited && rule.max_allowed ? R"("max")" : fmt::format("{}", value);
}
std::string show(const FlagRule& rule, const Scope& scope) {
  return rule.field(scope) ? "true" : "false";
}
std::string show(const TextRule& rule, const Scope& scope) {
  const std::string text = rule.show(scope);
  return text.empty() ? text : fmt::format(R"("{}")", text);
}

std::string describe(const Value& value) {
  if (const auto* const number = std::get_if<std::int64_t>(&value)) {
    return fmt::format("{}", *number);
  }
  if (const auto* const flag = std::get_if<bool>(&value)) {
    return *flag ? "true" : "false";
  }
  if (const auto* const text = std::get_if<std::string>(&value)) {
    return quoted(*text);
  }
  return "this value";
}

bool is_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

using Complaint = std::optional<std::string>;

Complaint assign(const NumberRule& rule, const Scope& scope, const Value& value) {
  if (const auto* const text = std::get_if<std::string>(&value)) {
    if (rule.max_allowed && *text == "max") {
      rule.field(scope) = kUnlimited;
      return std::nullopt;
    }
    return quoted(*text) +
           (is_digits(*text) ? " is a string: a number has no quotes" : " is not a number");
  }
  const auto* const number = std::get_if<std::int64_t>(&value);
  if (number == nullptr) {
    return describe(value) + " is not a number";
  }
  const auto wanted = static_cast<std::uint64_t>(*number);
  if (*number < 0 || wanted < rule.least || wanted > rule.most) {
    return describe(value) + " is out of range";
  }
  if (rule.bound_value != nullptr && wanted > rule.bound_value(scope)) {
    return fmt::format("{} is more than {}, which is {}", wanted, rule.bound,
                       rule.bound_value(scope));
  }
  if (wanted % rule.step != 0) {
    return fmt::format("{} is not a multiple of {}", wanted, rule.step);
  }
  rule.field(scope) = wanted;
  return std::nullopt;
}

Complaint assign(const FlagRule& rule, const Scope& scope, const Value& value) {
  const auto* const flag = std::get_if<bool>(&value);
  if (flag == nullptr) {
    return describe(value) + " is neither true nor false";
  }
  rule.field(scope) = *flag;
  return std::nullopt;
}

Complaint assign(const TextRule& rule, const Scope& scope, const Value& value) {
  const auto* const text = std::get_if<std::string>(&value);
  if (text == nullptr) {
    return describe(value) + " is not a string in quotes";
  }
  if (!rule.set(scope, *text)) {
    return quoted(*text) + " is not allowed";
  }
  return std::nullopt;
}

}  // namespace

std::span<const Key> all_keys() { return kKeys; }

std::string allowed(const Key& key) {
  return std::visit([](const auto& rule) { return allowed(rule); }, key.rule);
}

std::string default_text(const Key& key) {
  Config config;
  fs::DeclaredName name;
  fs::DeclaredBus bus;
  const Scope scope{
      .config = &config, .settings = &config.defaults, .name = &name, .bus = &bus, .object = &name};
  return std::visit([&](const auto& rule) { return show(rule, scope); }, key.rule);
}

std::optional<std::string> assign(const Key& key, const Scope& scope, const Value& value) {
  Complaint complaint =
      std::visit([&](const auto& rule) { return assign(rule, scope, value); }, key.rule);
  if (complaint) {
    *complaint += "; allowed: " + allowed(key);
  }
  return complaint;
}

}  // namespace flowfs::daemon
