// SPDX-License-Identifier: BSD-3-Clause
// What is written for people against what the program does: manual pages, example, --help.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

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
    {Section::pools, "[pools]"},
    {Section::settings, "[defaults]"},
    {Section::qos, "[defaults.qos]"},
    {Section::name, "[[name]]"},
    {Section::bus, "[[bus]]"},
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

bool is_word(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || c == '_' || c == '-';
  });
}

// A line of the example that is switched off: a table or `key = value` right behind the `#`, where
// prose has a space.
std::string_view switched_on(std::string_view line) {
  const std::string_view rest = line.substr(std::min<std::size_t>(1, line.size()));
  const bool is_setting = rest.starts_with('[') || is_word(rest.substr(0, rest.find(" = ")));
  return line.starts_with('#') && is_setting ? rest : line;
}

// `key = value` lines of the example, those that are switched off included, by table.
std::map<std::string, std::string> example_keys() {
  std::map<std::string, std::string> found;
  std::string table;
  for (const std::string& text : lines_of(source("config/flowfsd.toml"))) {
    const std::string_view line = switched_on(text);
    const std::size_t equals = line.find(" = ");
    if (line.starts_with('[')) {
      table = line;
    } else if (equals != std::string_view::npos && is_word(line.substr(0, equals))) {
      found.try_emplace(fmt::format("{} {}", table, line.substr(0, equals)),
                        line.substr(equals + 3));
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

  std::string all;
  for (const std::string& line : lines_of(example)) {
    all += fmt::format("{}\n", switched_on(line));
  }
  const auto whole = parse_config(all, anyone());
  ASSERT_TRUE(whole.has_value()) << to_string(whole.error().front(), "flowfsd.toml");
  EXPECT_FALSE(whole->names.empty());
  EXPECT_EQ(whole->limits.total, as_it_is->limits.total) << "what is shown is the default";
}

// The options in lines that begin with `marker`, which stands right before their names.
std::set<std::string> options_after(const std::string& text, std::string_view marker) {
  std::set<std::string> found;
  for (const std::string& line : lines_of(text)) {
    const std::string_view rest =
        std::string_view(line).substr(std::min(line.find_first_not_of(' '), line.size()));
    if (rest.starts_with(marker)) {
      const std::string_view name = rest.substr(marker.size());
      const auto* const end = std::ranges::find_if(name, [](char c) { return !is_word({&c, 1}); });
      found.emplace(name.begin(), end);
    }
  }
  return found;
}

TEST(Documents, help_and_manual_have_the_same_options) {
  const auto in_help = options_after(help_text(), "--");
  EXPECT_THAT(in_help, testing::IsSupersetOf({"config", "mount", "check", "version", "help"}));
  const std::string page = source("man/flowfsd.8");
  EXPECT_EQ(in_help, options_after(page, ".It Fl Fl ")) << "the list of options";
  EXPECT_EQ(in_help, options_after(page, ".Op Fl Fl ")) << "the synopsis";
}

}  // namespace
}  // namespace flowfs::daemon
