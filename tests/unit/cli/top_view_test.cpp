// SPDX-License-Identifier: BSD-3-Clause
#include "cli/top_view.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flowfs::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

FlowStatus flow(std::uint64_t id, std::string_view name, std::uint64_t messages,
                std::uint64_t bytes) {
  FlowStatus flow;
  flow.id = id;
  flow.state = "allocated";
  flow.peer = KeyValues::parse_lines(fmt::format("name {}\npid 77\n", name));
  flow.peer_user = "alice";
  flow.stats = KeyValues::parse_lines(
      fmt::format("messages_sent {}\nmessages_from_peer 0\nbytes_sent {}\nbytes_from_peer 0\n"
                  "bytes_queued 5\n",
                  messages, bytes));
  return flow;
}

NameStatus name(std::string_view text, std::uint64_t ever) {
  NameStatus name;
  name.name = text;
  name.open = true;
  name.stats = KeyValues::parse_lines(
      fmt::format("flows 1\nflows_ever {}\nrefused 0\nmessages_from_client {}\n"
                  "messages_to_client 0\nbytes_from_client 0\nbytes_to_client 0\n",
                  ever, ever));
  return name;
}

TopSample sample(double time_s, std::vector<FlowStatus> flows, std::uint64_t requests = 0) {
  TopSample sample;
  sample.time_s = time_s;
  sample.snapshot.mount = "/mnt";
  sample.snapshot.flows = std::move(flows);
  sample.metrics = Metrics::parse(
      fmt::format("flowfs_requests_total{{operation=\"read\"}} {}\nflowfs_waiting_requests 3\n"
                  "flowfs_pool_blocks{{pool=\"shared\",bytes=\"256\",state=\"held\"}} 2\n"
                  "flowfs_pool_blocks{{pool=\"shared\",bytes=\"512\",state=\"held\"}} 4\n",
                  requests));
  return sample;
}

std::vector<std::uint64_t> order(const TopSample& before, const TopSample& now, TopSort sort) {
  std::vector<std::uint64_t> ids;
  const auto shown = TopView(before, now).as_json(sort);
  for (const auto& flow : shown["flows"]) {
    ids.push_back(flow["id"]);
  }
  return ids;
}

TEST(TopView, shows_what_moved_in_a_second) {
  const TopSample before = sample(10, {flow(1, "log", 100, 1000)}, 50);
  const TopSample now = sample(12, {flow(1, "log", 300, 5000)}, 250);
  const auto shown = TopView(before, now).as_json(TopSort::id);
  EXPECT_EQ(shown["interval_s"], 2.0);
  EXPECT_EQ(shown["requests_per_s"], 100.0);
  EXPECT_EQ(shown["waiting_requests"], 3.0);
  EXPECT_EQ(shown["flows"][0]["messages_out_per_s"], 100.0);
  EXPECT_EQ(shown["flows"][0]["messages_in_per_s"], 0.0);
  EXPECT_EQ(shown["flows"][0]["bytes_out_per_s"], 2000.0);
  const std::string text = TopView(before, now).render(0, TopSort::id);
  EXPECT_THAT(text, HasSubstr("/mnt: 100 requests/s"));
  EXPECT_THAT(text, HasSubstr("100/0"));
  EXPECT_THAT(text, HasSubstr("2000/0"));
}

TEST(TopView, has_no_rates_of_what_was_not_there_before) {
  const TopSample before = sample(10, {});
  const TopSample now = sample(11, {flow(1, "log", 100, 1000)});
  EXPECT_TRUE(TopView(before, now).as_json(TopSort::id)["flows"][0]["bytes_out_per_s"].is_null());
  EXPECT_THAT(TopView(before, now).render(0, TopSort::id), HasSubstr("-/-"));
}

TEST(TopView, takes_a_counter_that_went_back_for_a_new_object) {
  const TopSample before = sample(10, {flow(1, "log", 100, 1000)});
  const TopSample now = sample(11, {flow(1, "log", 5, 1000)});
  EXPECT_TRUE(
      TopView(before, now).as_json(TopSort::id)["flows"][0]["messages_out_per_s"].is_null());
}

TEST(TopView, divides_by_no_interval) {
  const TopSample now = sample(10, {flow(1, "log", 100, 1000)}, 7);
  const auto shown = TopView(now, now).as_json(TopSort::id);
  EXPECT_EQ(shown["requests_per_s"], 0.0);
  EXPECT_TRUE(shown["flows"][0]["bytes_out_per_s"].is_null());
}

TEST(TopView, sorts_flows_by_each_key_and_keeps_what_is_equal_in_order) {
  const TopSample before =
      sample(10, {flow(1, "c", 0, 0), flow(2, "b", 0, 0), flow(3, "a", 0, 0), flow(4, "a", 0, 0)});
  const TopSample now = sample(
      11, {flow(1, "c", 5, 10), flow(2, "b", 9, 1), flow(3, "a", 1, 90), flow(4, "a", 1, 90)});
  EXPECT_THAT(order(before, now, TopSort::id), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(order(before, now, TopSort::messages), ElementsAre(2, 1, 3, 4));
  EXPECT_THAT(order(before, now, TopSort::bytes), ElementsAre(3, 4, 1, 2));
  EXPECT_THAT(order(before, now, TopSort::name), ElementsAre(3, 4, 2, 1));
}

TEST(TopView, shows_names_that_are_open_to_the_caller) {
  TopSample before = sample(10, {});
  TopSample now = sample(11, {});
  before.snapshot.names = {name("log", 10)};
  now.snapshot.names = {name("log", 14), name("new", 1)};
  NameStatus closed;
  closed.name = "closed";
  NameStatus alias;
  alias.name = "alias";
  alias.alias_of = "log";
  now.snapshot.names.insert(now.snapshot.names.end(), {closed, alias});
  const std::string text = TopView(before, now).render(0, TopSort::id);
  EXPECT_THAT(text, HasSubstr("names (4)"));
  EXPECT_THAT(text, HasSubstr("log       1      4          0     0/4"));
  EXPECT_THAT(text, HasSubstr("new       1      -          -     -/-"));
  EXPECT_THAT(text, Not(HasSubstr("closed")));
  EXPECT_EQ(TopView(before, now).as_json(TopSort::id)["names"].size(), 2U);
}

TEST(TopView, adds_up_the_blocks_of_a_pool) {
  TopSample now = sample(10, {});
  EXPECT_THAT(TopView(now, now).render(0, TopSort::id), Not(HasSubstr("pools")));
  now.pools = {{.name = "shared", .owner = "root", .size_bytes = 1'000'000}};
  EXPECT_THAT(TopView(now, now).render(0, TopSort::id),
              HasSubstr("shared  root   1.0M     0     6"));
  EXPECT_EQ(TopView(now, now).as_json(TopSort::id)["pools"][0]["held"], 6.0);
}

TEST(TopView, says_what_is_hidden) {
  TopSample now = sample(10, {});
  now.snapshot.hidden_flows = 4;
  EXPECT_THAT(TopView(now, now).render(0, TopSort::id),
              HasSubstr("flows (0; 4 of others, hidden)"));
  EXPECT_EQ(TopView(now, now).as_json(TopSort::id)["hidden"]["flows"], 4);
}

}  // namespace
}  // namespace flowfs::cli
