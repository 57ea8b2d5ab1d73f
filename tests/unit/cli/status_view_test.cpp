// SPDX-License-Identifier: BSD-3-Clause
#include "cli/status_view.hpp"

#include <gtest/gtest.h>

namespace flowfs::cli {
namespace {

Snapshot sample() {
  Snapshot snapshot;
  snapshot.mount = "/run/flowfs";
  NameStatus log;
  log.name = "log";
  log.owner = "alice";
  log.open = true;
  log.dial_mode = 0100622;
  log.dial_acl = true;
  log.backlog = "128";
  log.stats = KeyValues::parse_lines("flows 1\nflows_ever 20000\nrefused 3\n");
  NameStatus closed;
  closed.name = "private";
  closed.owner = "bob";
  NameStatus alias;
  alias.name = "short";
  alias.owner = "bob";
  alias.alias_of = "log";
  snapshot.names = {log, closed, alias};
  FlowStatus waiting;
  waiting.id = 7;
  waiting.state = "accept-pending";
  waiting.peer = KeyValues::parse_lines("name log\n");
  FlowStatus up;
  up.id = 12;
  up.state = "allocated";
  up.peer = KeyValues::parse_lines("uid 1000\npid 44\nname log\n");
  up.peer_user = "alice";
  up.stats = KeyValues::parse_lines(
      "messages_sent 2\nmessages_from_peer 3\nbytes_sent 20\nbytes_from_peer 12345\n");
  snapshot.flows = {waiting, up};
  snapshot.hidden_flows = 5;
  UserStatus user;
  user.uid = "1000";
  user.user = "alice";
  user.usage = KeyValues::parse_lines("names 1\nbytes 20\n");
  user.limits = KeyValues::parse_lines("names 64\nbytes max\n");
  snapshot.users = {user};
  count_waiting(snapshot);
  return snapshot;
}

TEST(StatusView, keeps_an_alias_from_spoiling_the_table) {
  Snapshot snapshot = sample();
  snapshot.names[2].alias_of = "a\x1b[2J\n" + std::string(4000, 'x');
  const std::string shown = render(snapshot, 0);
  EXPECT_NE(shown.find("short -> a?[2J?xxx"), std::string::npos) << shown;
  EXPECT_NE(shown.find("xxx..."), std::string::npos);
  EXPECT_LT(shown.find('\n', shown.find("short")) - shown.find("short"), 100U);
}

TEST(StatusView, shows_names_flows_and_users) {
  EXPECT_EQ(render(sample(), 0),
            "names (3; 1 closed to you)\n"
            "NAME          OWNER  DIAL        SERVERS  BACKLOG  FLOWS   EVER  REFUSED\n"
            "log           alice  rw--w--w-+        1    0/128      1  20.0k        3\n"
            "private       bob    -                 -        -      -      -        -\n"
            "short -> log  bob\n"
            "\n"
            "flows (2; 5 of others, hidden)\n"
            "ID  STATE           NAME  PEER   PID  MESSAGES     BYTES\n"
            " 7  accept-pending  log   -        -       -/-       -/-\n"
            "12  allocated       log   alice   44       2/3  20/12.3k\n"
            "\n"
            "users (1)\n"
            "USER   NAMES   BYTES\n"
            "alice   1/64  20/max\n");
}

TEST(StatusView, stays_within_the_terminal) {
  Snapshot snapshot = sample();
  snapshot.names[0].name = std::string(255, 'n');
  std::string_view text;
  const std::string rendered = render(snapshot, 80);
  for (text = rendered; !text.empty(); text.remove_prefix(text.find('\n') + 1)) {
    EXPECT_LE(text.find('\n'), 80U) << text.substr(0, text.find('\n'));
  }
}

TEST(StatusView, is_short_when_there_is_nothing) {
  EXPECT_EQ(render(Snapshot{}, 80), "names (0)\n\nflows (0)\n\nusers (0)\n");
}

TEST(StatusView, counts_those_who_wait_by_name) {
  Snapshot snapshot = sample();
  FlowStatus client;
  client.state = "alloc-pending";
  client.peer = KeyValues::parse_lines("name log\n");
  snapshot.flows = {client, client};
  snapshot.names[0].waiting_servers = 0;
  count_waiting(snapshot);
  EXPECT_EQ(snapshot.names[0].waiting_clients, 2U);
  EXPECT_EQ(snapshot.names[0].waiting_servers, 0U);
  EXPECT_EQ(snapshot.names[1].waiting_clients, 0U);
}

TEST(StatusView, becomes_json_with_numbers_as_numbers) {
  const auto object = as_json(sample());
  EXPECT_EQ(object["mount"], "/run/flowfs");
  EXPECT_EQ(object["names"][0]["dial_mode"], "0622");
  EXPECT_EQ(object["names"][0]["stats"]["flows_ever"], 20000);
  EXPECT_EQ(object["names"][1]["readable"], false);
  EXPECT_EQ(object["names"][2]["alias_of"], "log");
  EXPECT_EQ(object["flows"][1]["peer"]["uid"], 1000);
  EXPECT_EQ(object["users"][0]["limits"]["bytes"], "max");
  EXPECT_EQ(object["hidden"]["flows"], 5);
}

TEST(StatusView, writes_modes_as_ls_does) {
  EXPECT_EQ(mode_in_letters(0100640, false), "rw-r-----");
  EXPECT_EQ(mode_in_letters(0000, true), "---------+");
  EXPECT_EQ(mode_in_letters(0777, false), "rwxrwxrwx");
}

}  // namespace
}  // namespace flowfs::cli
