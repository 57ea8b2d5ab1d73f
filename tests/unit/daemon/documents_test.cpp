// SPDX-License-Identifier: BSD-3-Clause
// What is written for people against what the program does: manual pages, example, --help.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <string>

#include "base/fd.hpp"
#include "daemon/command_line.hpp"
#include "daemon/config.hpp"
#include "daemon/keys.hpp"

namespace flowfs::daemon {
namespace {

std::string source(const std::string& path) {
  const auto text = read_file(std::string(FLOWFS_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(text.has_value()) << path;
  return text.value_or("");
}

const std::map<Section, std::string> kSections{
    {Section::daemon, "[daemon]"},
    {Section::limits, "[limits]"},
    {Section::limits_total, "[limits.total]"},
    {Section::settings, "[defaults]"},
    {Section::qos, "[defaults.qos]"},
    {Section::name, "[[name]]"},
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

// "Ic key Pq default" and the words of the range, as the page sets them.
struct Documented {
  std::string value;    // after Default:
  std::string allowed;  // after Allowed:
};

// Reads the page as it is written: `.Ss [table]` begins a table, `.It Ic key` a key, and the lines
// `Allowed:` and `Default:` tell the two facts that the program knows as well.
std::map<std::string, Documented> manual_keys() {
  std::map<std::string, Documented> found;
  std::string table;
  std::string key;
  for (const std::string& line : lines_of(source("man/flowfsd.toml.5"))) {
    if (line.starts_with(".Ss ")) {
      table = line.substr(4);
    } else if (line.starts_with(".It Ic ")) {
      key = table + " " + line.substr(7);
      EXPECT_FALSE(found.contains(key)) << key << " twice";
      found[key] = {};
    } else if (line.starts_with("Allowed: ")) {
      found[key].allowed = line.substr(9);
    } else if (line.starts_with("Default: ")) {
      found[key].value = line.substr(9);
    }
  }
  return found;
}

TEST(Documents, the_manual_has_every_key_with_its_range_and_default) {
  auto documented = manual_keys();
  for (const Key& key : all_keys()) {
    const std::string name = fmt::format("{} {}", kSections.at(key.section), key.name);
    ASSERT_TRUE(documented.contains(name)) << name;
    EXPECT_EQ(documented[name].allowed, allowed(key) + ".") << name;
    if (const std::string value = default_text(key); !value.empty()) {
      EXPECT_EQ(documented[name].value, value + ".") << name;
    } else {
      EXPECT_FALSE(documented[name].value.empty()) << name << " says what holds without it";
    }
    documented.erase(name);
  }
  for (const auto& [name, rest] : documented) {
    ADD_FAILURE() << "the manual has a key that is not: " << name;
  }
}

// `key = value` lines of the example, those in comments included, by table.
std::map<std::string, std::string> example_keys() {
  static const std::regex table_line(R"(^#?(\[.*\])$)");
  static const std::regex key_line(R"(^#?([a-z_]+) = (.*)$)");
  std::map<std::string, std::string> found;
  std::string table;
  for (const std::string& line : lines_of(source("config/flowfsd.toml"))) {
    std::smatch match;
    if (std::regex_match(line, match, table_line)) {
      table = match[1];
    } else if (std::regex_match(line, match, key_line)) {
      found.try_emplace(fmt::format("{} {}", table, match[1].str()), match[2].str());
    }
  }
  return found;
}

TEST(Documents, the_example_shows_every_key_with_its_default) {
  auto shown = example_keys();
  for (const Key& key : all_keys()) {
    const std::string name = fmt::format("{} {}", kSections.at(key.section), key.name);
    ASSERT_TRUE(shown.contains(name)) << name;
    const std::string value = default_text(key);
    if (!value.empty()) {
      EXPECT_EQ(shown[name], value) << name;
    }
  }
}

Accounts anyone() {
  return {.self = {},
          .user = [](std::string_view) { return std::optional(Accounts::User{1, 1}); },
          .group = [](std::string_view) { return std::optional<gid_t>(1); }};
}

TEST(Documents, the_example_is_accepted_as_it_is_and_with_everything_switched_on) {
  const std::string example = source("config/flowfsd.toml");
  const auto as_it_is = parse_config(example, anyone());
  ASSERT_TRUE(as_it_is.has_value()) << to_string(as_it_is.error().front(), "flowfsd.toml");
  EXPECT_TRUE(as_it_is->names.empty());

  const std::string all =
      std::regex_replace(example, std::regex("(^|\n)#(\\[|[a-z_]+ = )"), "$1$2");
  const auto switched_on = parse_config(all, anyone());
  ASSERT_TRUE(switched_on.has_value()) << to_string(switched_on.error().front(), "flowfsd.toml");
  EXPECT_FALSE(switched_on->names.empty());
  EXPECT_EQ(switched_on->limits.total, as_it_is->limits.total) << "what is shown is the default";
}

std::set<std::string> matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::set<std::string> found;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), regex);
       it != std::sregex_iterator(); ++it) {
    found.insert((*it)[1].str());
  }
  return found;
}

TEST(Documents, help_and_manual_have_the_same_options) {
  const auto in_help = matches(help_text(), R"(\n\s+--([a-z-]+))");
  EXPECT_THAT(in_help, testing::IsSupersetOf({"config", "mount", "check", "version", "help"}));
  const std::string page = source("man/flowfsd.8");
  EXPECT_EQ(in_help, matches(page, R"(\n\.It Fl Fl ([a-z-]+))")) << "the list of options";
  EXPECT_EQ(in_help, matches(page, R"(\n\.Op Fl Fl ([a-z-]+))")) << "the synopsis";
}

}  // namespace
}  // namespace flowfs::daemon
