// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <tuple>
#include <utility>

#include "base/toml.hpp"
#include "daemon/keys.hpp"

namespace flowfs::daemon {
namespace {

Value value_of(const toml::node& node) {
  if (const auto* const number = node.as_integer()) {
    return number->get();
  }
  if (const auto* const flag = node.as_boolean()) {
    return flag->get();
  }
  if (const auto* const text = node.as_string()) {
    return text->get();
  }
  return std::monostate{};
}

std::size_t line_of(const toml::node& node) { return node.source().begin.line; }

std::string join(std::string_view path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

// One parse: the text's tables go in, fields of `config` and problems come out.
class Reader {
 public:
  Reader(const Accounts& accounts, Config& config, Problems& problems)
      : accounts_(accounts), config_(config), problems_(problems) {}

  void read(const toml::table& root) {
    refuse_unknown(root, "", {}, {"daemon", "limits", "pools", "defaults", "name", "bus"});
    Scope scope{.config = &config_, .settings = &config_.defaults, .accounts = &accounts_};
    if (const auto* const table = find_table(root, "", "daemon")) {
      read_keys(*table, "daemon", {Section::daemon}, {}, scope);
    }
    if (const auto* const table = find_table(root, "", "limits")) {
      read_keys(*table, "limits", {Section::limits}, {"total"}, scope);
      if (const auto* const total = find_table(*table, "limits", "total")) {
        read_keys(*total, "limits.total", {Section::limits_total}, {}, scope);
      }
    }
    if (const auto* const table = find_table(root, "", "pools")) {
      read_keys(*table, "pools", {Section::pools}, {}, scope);
    }
    // Before the names, which begin with them wherever they stand in the text.
    if (const auto* const table = find_table(root, "", "defaults")) {
      read_keys(*table, "defaults", {Section::settings}, {"qos"}, scope);
      read_qos(*table, "defaults", scope);
    }
    read_list(root, "name", [this](const toml::table& table) { read_name(table); });
    read_list(root, "bus", [this](const toml::table& table) { read_bus(table); });
  }

 private:
  using Names = std::initializer_list<std::string_view>;
  using Sections = std::initializer_list<Section>;

  void problem(std::size_t line, std::string key, std::string text) {
    problems_.push_back({line, std::move(key), std::move(text)});
  }

  // A key that neither `sections` nor `tables` has.
  void refuse_unknown(const toml::table& table, std::string_view path, Sections sections,
                      Names tables) {
    std::vector<std::string_view> known;
    for (const Key& key : all_keys()) {
      if (std::ranges::find(sections, key.section) != sections.end()) {
        known.push_back(key.name);
      }
    }
    known.insert(known.end(), tables.begin(), tables.end());
    for (const auto& [key, node] : table) {
      if (std::ranges::find(known, key.str()) == known.end()) {
        problem(key.source().begin.line, join(path, key.str()),
                fmt::format("unknown key; allowed here: {}", fmt::join(known, ", ")));
      }
    }
  }

  void read_keys(const toml::table& table, std::string_view path, Sections sections, Names tables,
                 const Scope& scope) {
    refuse_unknown(table, path, sections, tables);
    for (const Key& key : all_keys()) {
      const toml::node* const node = table.get(key.name);
      if (node == nullptr || std::ranges::find(sections, key.section) == sections.end()) {
        continue;
      }
      if (auto complaint = assign(key, scope, value_of(*node))) {
        problem(line_of(*node), join(path, key.name), std::move(*complaint));
      }
    }
  }

  const toml::table* find_table(const toml::table& parent, std::string_view path,
                                std::string_view key) {
    const toml::node* const node = parent.get(key);
    if (node == nullptr || node->is_table()) {
      return node == nullptr ? nullptr : node->as_table();
    }
    problem(line_of(*node), join(path, key),
            fmt::format("not a table; allowed: [{}]", join(path, key)));
    return nullptr;
  }

  void read_qos(const toml::table& table, std::string_view path, const Scope& scope) {
    if (const auto* const qos = find_table(table, path, "qos")) {
      read_keys(*qos, join(path, "qos"), {Section::qos}, {}, scope);
    }
  }

  // The tables [[KIND]], each read by `read_one`.
  template <typename Read>
  void read_list(const toml::table& root, std::string_view kind, const Read& read_one) {
    const toml::node* const node = root.get(kind);
    if (node == nullptr) {
      return;
    }
    const toml::array* const list = node->as_array();
    if (list == nullptr || !list->is_homogeneous(toml::node_type::table)) {
      problem(line_of(*node), std::string(kind),
              fmt::format("not a list of tables; allowed: [[{}]], once for each", kind));
      return;
    }
    for (const toml::node& entry : *list) {
      read_one(*entry.as_table());
    }
  }

  void read_name(const toml::table& table) {
    fs::DeclaredName name;
    name.settings = config_.defaults;
    const Scope scope = scope_of(name, {.settings = &name.settings, .name = &name});
    read_keys(table, "name", {Section::name, Section::settings}, {"qos"}, scope);
    read_qos(table, "name", scope);
    if (has_name(table, "name", name.name, name_lines_)) {
      config_.names.push_back(std::move(name));
    }
  }

  void read_bus(const toml::table& table) {
    fs::DeclaredBus bus;
    read_keys(table, "bus", {Section::bus}, {}, scope_of(bus, {.bus = &bus}));
    if (has_name(table, "bus", bus.name, bus_lines_)) {
      config_.buses.push_back(std::move(bus));
    }
  }

  Scope scope_of(fs::DeclaredObject& object, Scope scope) {
    object.uid = accounts_.self.uid;
    object.gid = accounts_.self.gid;
    scope.config = &config_;
    scope.object = &object;
    scope.accounts = &accounts_;
    return scope;
  }

  using Lines = std::map<std::string, std::size_t>;  // where each was first seen

  bool has_name(const toml::table& table, std::string_view kind, const std::string& name,
                Lines& lines) {
    const std::string key = join(kind, "name");
    if (!table.contains("name")) {
      problem(line_of(table), key, fmt::format("missing; every [[{}]] needs one", kind));
      return false;
    }
    const auto [first, is_new] = lines.try_emplace(name, line_of(table));
    if (!is_new && !name.empty()) {
      problem(line_of(table), key,
              fmt::format("'{}' is declared twice, first at line {}", name, first->second));
    }
    return true;
  }

  const Accounts& accounts_;
  Config& config_;
  Problems& problems_;
  Lines name_lines_;
  Lines bus_lines_;
};

}  // namespace

std::string to_string(const Problem& problem, std::string_view file) {
  return problem.key.empty()
             ? fmt::format("{}:{}: {}", file, problem.line, problem.text)
             : fmt::format("{}:{}: {}: {}", file, problem.line, problem.key, problem.text);
}

std::expected<Config, Problems> parse_config(std::string_view text, const Accounts& accounts) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return std::unexpected(
        Problems{{error.source().begin.line, "", std::string(error.description())}});
  }
  Config config;
  Problems problems;
  Reader(accounts, config, problems).read(parsed.table());
  if (!problems.empty()) {
    std::ranges::sort(problems, {}, [](const Problem& problem) {
      return std::tie(problem.line, problem.key, problem.text);
    });
    return std::unexpected(std::move(problems));
  }
  return config;
}

}  // namespace flowfs::daemon
