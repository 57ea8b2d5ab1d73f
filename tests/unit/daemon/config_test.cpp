// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "daemon/keys.hpp"

namespace flowfs::daemon {
namespace {

using registry::Balance;
using registry::kUnlimited;
using registry::Resource;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::SizeIs;

Accounts accounts() {
  return {.self = {11, 12},
          .user = [](std::string_view name) -> std::optional<Accounts::User> {
            return name == "ann" ? std::optional(Accounts::User{1001, 2001}) : std::nullopt;
          },
          .group = [](std::string_view name) -> std::optional<gid_t> {
            return name == "lab" ? std::optional<gid_t>(3001) : std::nullopt;
          }};
}

Config good(std::string_view text) {
  auto config = parse_config(text, accounts());
  if (!config) {
    ADD_FAILURE() << to_string(config.error().front(), "text");
    return {};
  }
  return std::move(*config);
}

std::vector<std::string> bad(std::string_view text) {
  std::vector<std::string> lines;
  const auto config = parse_config(text, accounts());
  if (!config) {
    for (const Problem& problem : config.error()) {
      lines.push_back(to_string(problem, "f"));
    }
  }
  return lines;
}

std::uint64_t of(const registry::Users::Limits& limits, Resource resource) {
  return limits[static_cast<std::size_t>(resource)];
}

TEST(Config, an_empty_text_gives_the_defaults) {
  const Config config = good("");
  EXPECT_EQ(config.mount, "");
  EXPECT_EQ(config.log_level, log::Level::info);
  EXPECT_EQ(config.group, "flowfs");
  EXPECT_EQ(config.hot_ring_bytes, 28'672U);
  EXPECT_EQ(config.limits.per_uid, registry::Users::Config::defaults().per_uid);
  EXPECT_EQ(config.limits.total, registry::Users::Config::defaults().total);
  EXPECT_EQ(config.defaults.backlog, 128U);
  EXPECT_THAT(config.names, SizeIs(0));
}

TEST(Config, every_table_is_read) {
  const Config config = good(R"(
[daemon]
mount = "/run/other"
log_level = "debug"
group = "lab"
hot_ring = 61440
[limits]
names = 5
flows = "max"
requests_per_second = 100
[limits.total]
bytes = 1_000_000
[defaults]
backlog = "max"
dial_timeout = 0
balance = "least-flows"
mtu = 1500
depth = 3000
[defaults.qos]
loss = 10
ordered = false
delay = 1000
bandwidth = 125000
timeout = "max"
)");
  EXPECT_EQ(config.mount, "/run/other");
  EXPECT_EQ(config.log_level, log::Level::debug);
  EXPECT_EQ(config.group, "lab");
  EXPECT_EQ(config.hot_ring_bytes, 61'440U);
  EXPECT_EQ(of(config.limits.per_uid, Resource::names), 5U);
  EXPECT_EQ(of(config.limits.per_uid, Resource::flows), kUnlimited);
  EXPECT_EQ(config.requests_per_second, 100U);
  EXPECT_EQ(of(config.limits.total, Resource::bytes), 1'000'000U);
  EXPECT_EQ(config.defaults.backlog, kUnlimited);
  EXPECT_EQ(config.defaults.dial_timeout_us, 0U);
  EXPECT_EQ(config.defaults.balance, Balance::least_flows);
  EXPECT_EQ(config.defaults.mtu_bytes, 1'500U);
  EXPECT_EQ(config.defaults.depth_bytes, 3'000U);
  EXPECT_EQ(config.defaults.qos.loss_ppm, 10U);
  EXPECT_FALSE(config.defaults.qos.ordered);
  EXPECT_EQ(config.defaults.qos.delay_us, 1'000U);
  EXPECT_EQ(config.defaults.qos.bandwidth, 125'000U);
  EXPECT_EQ(config.defaults.qos.timeout_us, kUnlimited);
}

TEST(Config, pools_are_sizes_and_counts) {
  const Config config = good(R"(
[pools]
shared = "64:1 128:2"
personal = "4096:3"
shards = 1
prefault = true
lock = false
)");
  ASSERT_THAT(config.pools.shared, SizeIs(2));
  EXPECT_EQ(config.pools.shared[1].block_bytes, 128U);
  EXPECT_EQ(config.pools.shared[1].blocks, 2U);
  ASSERT_THAT(config.pools.personal, SizeIs(1));
  EXPECT_EQ(config.pools.personal[0].blocks, 3U);
  EXPECT_EQ(config.pools.shards, 1U);
  EXPECT_TRUE(config.pools.prefault);
  EXPECT_FALSE(config.pools.lock);
}

TEST(Config, blocks_of_a_pool_are_checked) {
  for (const char* const text : {"", "64", "64:", "64:0", "64:1 ", " 64:1", "64:1,128:1",
                                 "64:1  128:1", "63:1", "0:1", "128:1 64:1", "64:1 64:1", "-64:1",
                                 "64:4294967296", "1099511627776:1", "4294967232:4294967295"}) {
    EXPECT_THAT(bad(std::string("[pools]\nshared = '") + text + "'\n"),
                ElementsAre(HasSubstr("f:2: pools.shared: '")))
        << text;
  }
  std::string many = "64:1";
  for (int size = 128; size <= 64 * 16; size += 64) {
    many += " " + std::to_string(size) + ":1";
  }
  EXPECT_THAT(good("[pools]\npersonal = '" + many + "'\n").pools.personal, SizeIs(16));
  EXPECT_THAT(bad("[pools]\npersonal = '" + many + " 2048:1'\n"), SizeIs(1));
}

TEST(Config, ends_may_be_kept_from_being_mapped) {
  EXPECT_TRUE(good("").direct);
  EXPECT_FALSE(good("[daemon]\ndirect = false\n").direct);
  const Config config = good("[[name]]\nname = 'a'\ndirect = false\n[[name]]\nname = 'b'\n");
  EXPECT_FALSE(config.names.at(0).settings.direct);
  EXPECT_TRUE(config.names.at(1).settings.direct);
}

TEST(Config, a_name_begins_with_the_defaults_wherever_they_stand) {
  const Config config = good(R"(
[[name]]
name = "log"
user = "ann"
mode = "0733"
accept_mode = "0660"
mtu = 100
qos = { loss = 3 }
[[name]]
name = "chat:1"
group = "lab"
[defaults]
backlog = 7
mtu = 200
)");
  ASSERT_THAT(config.names, SizeIs(2));
  const fs::DeclaredName& log = config.names[0];
  EXPECT_EQ(log.name, "log");
  EXPECT_EQ(log.uid, 1001U);
  EXPECT_EQ(log.gid, 2001U) << "the user's own group";
  EXPECT_EQ(log.mode, 0733U);
  EXPECT_EQ(log.accept_mode, std::optional<mode_t>(0660));
  EXPECT_EQ(log.dial_mode, std::nullopt);
  EXPECT_EQ(log.settings.backlog, 7U);
  EXPECT_EQ(log.settings.mtu_bytes, 100U);
  EXPECT_EQ(log.settings.qos.loss_ppm, 3U);
  const fs::DeclaredName& chat = config.names[1];
  EXPECT_EQ(chat.uid, 11U) << "whoever runs the daemon";
  EXPECT_EQ(chat.gid, 3001U);
  EXPECT_EQ(chat.mode, 0755U);
  EXPECT_EQ(chat.settings.mtu_bytes, 200U);
}

TEST(Config, buses_are_read_with_their_settings) {
  const Config config = good(R"(
[[bus]]
name = "chat"
user = "ann"
bus_mode = "0766"
delivery = "lossless"
depth = 5000
writers = 1
evict = 20
[[bus]]
name = "log"
)");
  ASSERT_THAT(config.buses, SizeIs(2));
  const fs::DeclaredBus& chat = config.buses[0];
  EXPECT_EQ(chat.uid, 1001U);
  EXPECT_EQ(chat.mode, 0755U);
  EXPECT_EQ(chat.bus_mode, std::optional<mode_t>(0766));
  EXPECT_EQ(chat.settings.delivery, registry::Delivery::lossless);
  EXPECT_EQ(chat.settings.depth_bytes, 5000U);
  EXPECT_EQ(chat.settings.writers, 1U);
  EXPECT_EQ(chat.settings.evict_us, 20U);
  EXPECT_EQ(config.buses[1].settings, registry::BusSettings{});
  EXPECT_EQ(config.buses[1].uid, 11U) << "whoever runs the daemon";
}

TEST(Config, buses_are_checked) {
  EXPECT_THAT(bad("[[bus]]\nmtu = 1\n"), ElementsAre(HasSubstr("bus.name: missing")));
  EXPECT_THAT(bad("[[bus]]\nname = 'a'\n[[bus]]\nname = 'a'\n"),
              ElementsAre(HasSubstr("'a' is declared twice, first at line 1")));
  EXPECT_THAT(bad("bus = 3\n"), ElementsAre(HasSubstr("allowed: [[bus]]")));
  EXPECT_THAT(bad("[[bus]]\nname = 'a'\ndelivery = 'fast'\n"),
              ElementsAre(HasSubstr("bus.delivery: 'fast' is not allowed")));
  EXPECT_THAT(bad("[[bus]]\nname = 'a'\npolicy = 'router'\n"),
              ElementsAre(HasSubstr("bus.policy: 'router' is not allowed")));
  EXPECT_THAT(bad("[[bus]]\nname = 'a'\nmtu = 65537\npolicy = 'hub'\n"),
              ElementsAre(HasSubstr("what its policy allows, which is 65536")));
  // A name and a bus of the same name are two things.
  EXPECT_THAT(good("[[bus]]\nname = 'a'\n[[name]]\nname = 'a'\n").names, SizeIs(1));
}

TEST(Config, a_group_goes_before_the_users_own_in_any_order) {
  const Config config = good("[[name]]\nname = 'a'\ngroup = 'lab'\nuser = 'ann'\n");
  ASSERT_THAT(config.names, SizeIs(1));
  EXPECT_EQ(config.names[0].gid, 3001U);
  EXPECT_EQ(config.names[0].uid, 1001U);
}

TEST(Config, a_problem_names_file_line_key_and_what_is_allowed) {
  EXPECT_THAT(bad("[limits]\n\nnames = 'many'\n"),
              ElementsAre("f:3: limits.names: 'many' is not a number; "
                          "allowed: 0 to 1000000 or \"max\""));
}

TEST(Config, another_key_says_how_much_an_mtu_may_be) {
  const Config config = good("[defaults]\nmtu = 5000000\n[daemon]\nlongest_message = 5000000\n");
  EXPECT_EQ(config.defaults.mtu_bytes, 5'000'000U);
  EXPECT_THAT(bad("[daemon]\nlongest_message = 5000000\n[[name]]\nname = 'n'\nmtu = 5000001\n"),
              ElementsAre(HasSubstr("5000001 is more than daemon.longest_message")));
  EXPECT_THAT(bad("[daemon]\nlongest_message = 917503\n"),
              ElementsAre(HasSubstr("allowed: 917504 to 67108864")));
}

TEST(Config, all_problems_are_told_in_the_order_of_lines) {
  EXPECT_THAT(bad(R"([defaults]
mtu = 917505
balance = "random"
colour = 1
[limits.total]
held = -1
[daemon]
log_level = 3
)"),
              ElementsAre("f:2: defaults.mtu: 917505 is more than daemon.longest_message, "
                          "which is 917504; allowed: 1 to daemon.longest_message",
                          "f:3: defaults.balance: 'random' is not allowed; allowed: \"fifo\", "
                          "\"round-robin\" or \"least-flows\"",
                          "f:4: defaults.colour: unknown key; allowed here: backlog, "
                          "dial_timeout, balance, mtu, depth, qos",
                          "f:6: limits.total.held: -1 is out of range; "
                          "allowed: 0 to 1000000 or \"max\"",
                          AllOf(HasSubstr("f:8: daemon.log_level: 3 is not a string"),
                                EndsWith("\"info\" or \"debug\""))));
}

TEST(Config, a_text_that_is_not_toml_names_the_line) {
  EXPECT_THAT(bad("[daemon]\nmount = \n"), ElementsAre(testing::StartsWith("f:2: ")));
}

TEST(Config, what_the_parser_would_stumble_over_is_refused_like_the_rest) {
  EXPECT_THAT(bad("\n[@limits]\n"), ElementsAre(testing::StartsWith("f:2: ")));
  EXPECT_THAT(bad("[limits\xD0\x8B]\n"), ElementsAre(testing::StartsWith("f:1: ")));
  EXPECT_EQ(good("[daemon]\nmount = '/run/\xC3\xA9' # \xC3\xA9\n").mount, "/run/\xC3\xA9");
}

TEST(Config, a_key_given_twice_is_refused) {
  EXPECT_THAT(bad("[daemon]\ngroup = 'a'\ngroup = 'b'\n"), SizeIs(1));
}

TEST(Config, unknown_tables_are_refused) {
  EXPECT_THAT(
      bad("[deamon]\nmount = '/x'\n"),
      ElementsAre(
          "f:1: deamon: unknown key; allowed here: daemon, limits, pools, defaults, name, bus"));
  EXPECT_THAT(bad("[limits.uid]\nnames = 1\n"),
              ElementsAre(AllOf(HasSubstr("limits.uid: unknown key"),
                                EndsWith("ports, requests_per_second, total"))));
  EXPECT_THAT(bad("daemon = 3\n"), ElementsAre("f:1: daemon: not a table; allowed: [daemon]"));
}

TEST(Config, a_number_in_quotes_is_explained) {
  EXPECT_THAT(bad("[defaults]\nbacklog = '12'\n"), ElementsAre(HasSubstr("has no quotes")));
  EXPECT_THAT(bad("[defaults]\nmtu = 'max'\n"), ElementsAre(HasSubstr("'max' is not a number")));
  EXPECT_THAT(bad("[defaults]\nmtu = 1.5\n"), ElementsAre(HasSubstr("is not a number")));
  EXPECT_THAT(bad("[daemon]\nhot_ring = 5000\n"),
              ElementsAre(HasSubstr("5000 is not a multiple of 4096")));
}

TEST(Config, flags_and_strings_are_not_mixed_up) {
  EXPECT_THAT(bad("[defaults.qos]\nordered = 1\n"),
              ElementsAre("f:2: defaults.qos.ordered: 1 is neither true nor false; "
                          "allowed: true or false"));
  EXPECT_THAT(bad("[daemon]\nmount = true\n"), ElementsAre(HasSubstr("true is not a string")));
}

TEST(Config, names_are_checked) {
  EXPECT_THAT(bad("[[name]]\nmode = '0755'\n"),
              ElementsAre("f:1: name.name: missing; every [[name]] needs one"));
  EXPECT_THAT(bad("[[name]]\nname = '.hidden'\n"), ElementsAre(HasSubstr("'.hidden'")));
  EXPECT_THAT(bad("[[name]]\nname = 'a'\n[[name]]\nname = 'a'\n"),
              ElementsAre("f:3: name.name: 'a' is declared twice, first at line 1"));
  EXPECT_THAT(
      bad("[[name]]\nname = 'a'\nuser = 'bob'\ngroup = 'staff'\n"),
      ElementsAre(HasSubstr("f:3: name.user: 'bob'"), HasSubstr("f:4: name.group: 'staff'")));
  EXPECT_THAT(bad("[name]\nname = 'a'\n"), ElementsAre(HasSubstr("[[name]]")));
  EXPECT_THAT(bad("name = [1]\n"), ElementsAre(HasSubstr("[[name]]")));
}

TEST(Config, modes_are_octal_strings) {
  for (const char* const mode :
       {"'0778'", "'1777'", "'77777'", "''", "'rwx'", "'-755'", "' 755'"}) {
    EXPECT_THAT(bad(std::string("[[name]]\nname = 'a'\ndial_mode = ") + mode + "\n"),
                ElementsAre(AllOf(HasSubstr("f:3: name.dial_mode: "), EndsWith("octal"))))
        << mode;
  }
  EXPECT_THAT(bad("[[name]]\nname = 'a'\nmode = 755\n"), ElementsAre(HasSubstr("name.mode")));
  EXPECT_EQ(good("[[name]]\nname = 'a'\nmode = '711'\n").names.at(0).mode, 0711U);
}

TEST(Config, what_a_text_says_stays_on_its_line_of_the_message) {
  EXPECT_THAT(bad("[daemon]\nlog_level = \"a\\nb\\u0007\"\n"), ElementsAre(HasSubstr("'a?b?'")));
}

// Each number: its ends and what lies past them, for every row of the table.
TEST(Config, ranges_end_where_the_table_says) {
  for (const Key& key : all_keys()) {
    const auto* const rule = std::get_if<NumberRule>(&key.rule);
    if (rule == nullptr) {
      continue;
    }
    Config config;
    config.longest_message_bytes = 64 << 20;  // as far as any bound goes
    fs::DeclaredBus bus;
    const Scope scope{.config = &config, .settings = &config.defaults, .bus = &bus};
    const auto refused = [&](std::int64_t value) {
      return assign(key, scope, Value(value)).has_value();
    };
    const auto least = static_cast<std::int64_t>(rule->least);
    const auto most = static_cast<std::int64_t>(rule->most);
    const auto step = static_cast<std::int64_t>(rule->step);
    EXPECT_FALSE(refused(least)) << key.name;
    EXPECT_FALSE(refused(most)) << key.name;
    EXPECT_TRUE(refused(least - step)) << key.name;
    EXPECT_TRUE(refused(most + step)) << key.name;
    EXPECT_EQ(rule->field(scope), rule->most) << key.name;
    EXPECT_EQ(assign(key, scope, Value("max")).has_value(), !rule->max_allowed) << key.name;
  }
}

}  // namespace
}  // namespace flowfs::daemon
