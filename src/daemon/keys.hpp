// SPDX-License-Identifier: BSD-3-Clause
// The one table of every key of flowfsd.toml: its place, what it may be, and the field it sets.
//
// The parser, --check and the tests of the manual page and of the example file all walk this table,
// so a key cannot be accepted and undocumented, or documented and refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "daemon/config.hpp"

namespace flowfs::daemon {

// A group of keys. `settings` and `qos` occur twice: under [defaults] and under each [[name]].
enum class Section : std::uint8_t {
  daemon,
  limits,
  limits_total,
  pools,
  settings,
  qos,
  name,
  bus,
};

// What the keys of one table write into. `config` is always there; `settings` in settings and qos;
// `name` in name, `bus` in bus, and `object` in both.
struct Scope {
  Config* config = nullptr;
  registry::NameSettings* settings = nullptr;
  fs::DeclaredName* name = nullptr;
  fs::DeclaredBus* bus = nullptr;
  fs::DeclaredObject* object = nullptr;
  const Accounts* accounts = nullptr;
};

// A number from `least` to `most`, a multiple of `step`; or "max" where `max_allowed`. Where the
// most is what a key read before says: that key, as `bound`, and its value.
struct NumberRule {
  std::uint64_t& (*field)(const Scope&);
  std::uint64_t least = 0;
  std::uint64_t most = 0;
  bool max_allowed = false;
  std::uint64_t step = 1;
  std::string_view bound = {};
  std::uint64_t (*bound_value)(const Scope&) = nullptr;
};

struct FlagRule {
  bool& (*field)(const Scope&);
};

// A string. `set` says whether it is allowed, and stores it if so.
struct TextRule {
  bool (*set)(const Scope&, std::string_view);
  std::string (*show)(const Scope&);  // the value as the text that would set it
  std::string_view allowed;           // in words
};

struct Key {
  Section section;
  std::string_view name;
  std::variant<NumberRule, FlagRule, TextRule> rule;
};

std::span<const Key> all_keys();

// What is allowed, in words: `0 to 1000000 or "max"`.
std::string allowed(const Key& key);
// The default as it is written in TOML; empty where there is none to write (the mount point, which
// depends on the mode, and what a [[name]] must say or takes from elsewhere).
std::string default_text(const Key& key);

// A value as TOML has it; std::monostate for what is neither a number, a flag nor a string.
using Value = std::variant<std::monostate, std::int64_t, bool, std::string>;

// Sets the field. Otherwise what is wrong, in words, with what is allowed.
std::optional<std::string> assign(const Key& key, const Scope& scope, const Value& value);

}  // namespace flowfs::daemon
