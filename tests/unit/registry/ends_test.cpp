// SPDX-License-Identifier: BSD-3-Clause
#include "fixture.hpp"

namespace flowfs::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using EndsTest = RegistryTest;

TEST_F(EndsTest, a_dial_that_finds_a_server_is_allocated_at_once) {
  const NameId id = name("log");
  const FlowId server = accept(id);
  EXPECT_EQ(state(server), FlowState::accept_pending);
  EXPECT_THAT(events(),
              ElementsAre("name-created names/log 1000", "flow-waiting names/log 1000 flow=1"));
  const FlowId client = dial(id);
  EXPECT_EQ(state(client), FlowState::allocated);
  EXPECT_EQ(state(server), FlowState::allocated);
  EXPECT_EQ(peer(client), server);
  EXPECT_EQ(peer(server), client);
  EXPECT_EQ(registry_.find_end(server)->side, Side::server);
  EXPECT_EQ(registry_.find_end(client)->side, Side::client);
  EXPECT_THAT(effects(), ElementsAre("established 1 with 2"));
}

TEST_F(EndsTest, an_accept_that_finds_a_client_is_allocated_at_once) {
  const NameId id = name("log");
  const FlowId client = dial(id);
  EXPECT_EQ(state(client), FlowState::alloc_pending);
  EXPECT_NE(registry_.next_deadline(), kNever);
  forget_effects();
  const FlowId server = accept(id);
  EXPECT_EQ(peer(server), client);
  EXPECT_EQ(registry_.next_deadline(), kNever);
  EXPECT_THAT(events(), ElementsAre("flow-allocated flows/2 1000 peer=1 name=log"));
}

TEST_F(EndsTest, says_who_waits) {
  const NameId id = name("log");
  accept(id);
  forget_effects();
  accept(id);  // only the first is news
  EXPECT_THAT(events(), IsEmpty());
  EXPECT_EQ(registry_.waiting(id).servers, 2U);
  EXPECT_EQ(registry_.waiting(NameId{99}).servers, 0U);
}

TEST_F(EndsTest, keeps_opener_and_rights) {
  const NameId id = name("log");
  const Rights only_send{.receive = false, .send = true};
  const Result<FlowId> flow = registry_.open_dial(id, {7, 8, 9}, only_send, false, now_);
  ASSERT_TRUE(flow);
  const End* end = registry_.find_end(*flow);
  EXPECT_EQ(end->opener.uid, 7U);
  EXPECT_EQ(end->opener.gid, 8U);
  EXPECT_EQ(end->opener.pid, 9);
  EXPECT_TRUE(end->rights.send);
  EXPECT_FALSE(end->rights.receive);
}

TEST_F(EndsTest, opening_needs_a_name) {
  EXPECT_EQ(error_of(registry_.open_accept(NameId{9}, opener(kAlice), kBoth, now_)), ENOENT);
  EXPECT_EQ(error_of(try_dial(NameId{9})), ENOENT);
  const Result<NameId> alias = registry_.create_alias("link", "log", opener(kOwner));
  ASSERT_TRUE(alias);
  EXPECT_EQ(error_of(try_dial(*alias)), ENOENT);
}

TEST_F(EndsTest, opening_is_charged_and_limited) {
  const NameId id = name("log");
  users_.set_limit(kAlice, Resource::flows, 1);
  dial(id);
  EXPECT_EQ(users_.used(kAlice, Resource::flows), 1U);
  EXPECT_EQ(error_of(try_dial(id)), EDQUOT);
  EXPECT_EQ(error_of(registry_.open_accept(id, opener(kAlice), kBoth, now_)), EDQUOT);
  Users::Config config = Users::Config::defaults();
  config.total[static_cast<std::size_t>(Resource::flows)] = 1;
  users_.reconfigure(config);
  EXPECT_EQ(error_of(try_dial(id, kBob)), ENFILE);
  EXPECT_EQ(error_of(registry_.open_accept(id, opener(kBob), kBoth, now_)), ENFILE);
  EXPECT_EQ(registry_.end_count(), 1U);
}

TEST_F(EndsTest, refuses_at_once_without_a_timeout_and_a_server) {
  NameSettings settings;
  settings.dial_timeout_us = 0;
  const NameId id = name("log", settings);
  forget_effects();
  EXPECT_EQ(error_of(try_dial(id)), ECONNREFUSED);
  EXPECT_EQ(registry_.find_name(id)->stats.refused, 1U);
  EXPECT_THAT(events(), ElementsAre("flow-refused names/log 1001"));
  EXPECT_EQ(users_.total(Resource::flows), 0U);
  const FlowId server = accept(id);
  EXPECT_EQ(peer(dial(id)), server);
}

TEST_F(EndsTest, a_waiting_client_times_out) {
  NameSettings settings;
  settings.dial_timeout_us = 500;
  const NameId id = name("log", settings);
  const FlowId client = dial(id);
  forget_effects();
  EXPECT_EQ(registry_.next_deadline(), now_ + Micros(500));
  registry_.tick(now_ + Micros(499));
  EXPECT_EQ(state(client), FlowState::alloc_pending);
  registry_.tick(now_ + Micros(500));
  EXPECT_EQ(state(client), FlowState::deallocated);
  EXPECT_EQ(registry_.find_end(client)->error, ETIMEDOUT);
  EXPECT_EQ(registry_.find_name(id)->stats.timed_out, 1U);
  EXPECT_EQ(registry_.next_deadline(), kNever);
  EXPECT_EQ(users_.used(kAlice, Resource::flows), 1U);  // until the descriptor is closed
  const std::vector<Effect> told = registry_.take_effects();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].kind, Effect::Kind::failed);
  EXPECT_EQ(told[0].flow, client);
  EXPECT_EQ(told[0].error, ETIMEDOUT);
  EXPECT_EQ(told[1].event.kind, EventKind::flow_timed_out);
  EXPECT_EQ(told[1].event.object, "flows/1");
  EXPECT_EQ(told[1].event.detail, "name=log");
}

TEST_F(EndsTest, an_unlimited_timeout_never_ends) {
  NameSettings settings;
  for (const std::uint64_t timeout : {kUnlimited, kUnlimited - 1}) {
    settings.dial_timeout_us = timeout;
    const FlowId client = dial(name("n" + std::to_string(timeout), settings));
    EXPECT_EQ(registry_.next_deadline(), kNever);
    registry_.tick(kNever);
    EXPECT_EQ(state(client), FlowState::alloc_pending);
  }
}

TEST_F(EndsTest, the_earliest_deadline_is_next_and_ends_first) {
  const NameId slow = name("slow");
  NameSettings settings;
  settings.dial_timeout_us = 10;
  const NameId quick = name("quick", settings);
  const FlowId first = dial(slow);
  const FlowId second = dial(quick);
  EXPECT_EQ(registry_.next_deadline(), now_ + Micros(10));
  registry_.release(second);
  EXPECT_EQ(registry_.next_deadline(), registry_.find_end(first)->deadline);
  const FlowId third = dial(quick);
  forget_effects();
  registry_.tick(now_ + std::chrono::hours(1));
  EXPECT_THAT(effects(), ElementsAre("failed 3 110", "failed 1 110"));
  EXPECT_EQ(state(third), FlowState::deallocated);
}

TEST_F(EndsTest, a_new_timeout_holds_for_later_dials) {
  const NameId id = name("log");
  dial(id);
  const Instant before = registry_.next_deadline();
  NameSettings settings;
  settings.dial_timeout_us = 20'000'000;
  registry_.set_settings(id, settings);
  EXPECT_EQ(registry_.next_deadline(), before);
  EXPECT_EQ(registry_.find_end(dial(id))->deadline, now_ + std::chrono::seconds(20));
}

TEST_F(EndsTest, release_tells_the_peer_and_ends_the_flow_with_the_last_end) {
  const NameId id = name("log");
  const FlowId server = accept(id);
  const FlowId client = dial(id);
  forget_effects();
  EXPECT_EQ(registry_.find_name(id)->stats.flows_now, 1U);
  registry_.release(client);
  EXPECT_EQ(registry_.find_end(client), nullptr);
  EXPECT_EQ(state(server), FlowState::dealloc_pending);
  EXPECT_EQ(peer(server), client);
  EXPECT_THAT(effects(), ElementsAre("peer_gone 1 lost 2"));
  EXPECT_EQ(registry_.find_name(id)->stats.flows_now, 1U);
  registry_.release(server);
  EXPECT_THAT(events(), ElementsAre("flow-deallocated flows/1 1000 peer=2 name=log"));
  EXPECT_EQ(registry_.find_name(id)->stats.flows_now, 0U);
  EXPECT_EQ(registry_.find_name(id)->stats.flows_ever, 1U);
  EXPECT_EQ(registry_.end_count(), 0U);
}

TEST_F(EndsTest, release_is_idempotent) {
  const NameId id = name("log");
  const FlowId server = accept(id);
  dial(id);
  forget_effects();
  registry_.release(server);
  forget_effects();
  registry_.release(server);
  registry_.release(FlowId{77});
  registry_.release(kNoFlow);
  EXPECT_FALSE(registry_.has_effects());
  EXPECT_EQ(registry_.end_count(), 1U);
}

TEST_F(EndsTest, releasing_a_pending_end_takes_it_out_of_its_queue) {
  const NameId id = name("log");
  registry_.release(accept(id));
  const FlowId gone = dial(id);
  const FlowId stays = dial(id);
  registry_.release(gone);
  EXPECT_EQ(peer(accept(id)), stays);
  EXPECT_EQ(registry_.next_deadline(), kNever);
}

TEST_F(EndsTest, close_leaves_the_end_deallocated_with_its_reason) {
  const NameId id = name("log");
  const FlowId server = accept(id);
  const FlowId client = dial(id);
  forget_effects();
  registry_.close(server, ECONNABORTED);
  EXPECT_EQ(state(server), FlowState::deallocated);
  EXPECT_EQ(registry_.find_end(server)->error, ECONNABORTED);
  EXPECT_EQ(state(client), FlowState::dealloc_pending);
  EXPECT_THAT(effects(), ElementsAre("peer_gone 2 lost 1"));
  registry_.close(server, EIO);  // changes nothing
  EXPECT_EQ(registry_.find_end(server)->error, ECONNABORTED);
  registry_.close(FlowId{77}, EIO);
  EXPECT_FALSE(registry_.has_effects());
  registry_.close(client, 0);
  EXPECT_THAT(events(), ElementsAre("flow-deallocated flows/2 1001 peer=1 name=log"));
  EXPECT_EQ(registry_.find_name(id)->stats.flows_now, 0U);
  registry_.release(client);
  registry_.release(server);
  EXPECT_FALSE(registry_.has_effects());
}

TEST_F(EndsTest, close_takes_a_pending_end_out_of_its_queue) {
  const NameId id = name("log");
  const FlowId client = dial(id);
  registry_.close(client, ECANCELED);
  EXPECT_EQ(state(client), FlowState::deallocated);
  EXPECT_EQ(registry_.next_deadline(), kNever);
  const FlowId server = accept(id);
  EXPECT_EQ(state(server), FlowState::accept_pending);
  registry_.close(server, ECANCELED);
  EXPECT_EQ(state(dial(id)), FlowState::alloc_pending);
}

TEST_F(EndsTest, lists_ends_in_order_and_never_reuses_ids) {
  const NameId id = name("log");
  for (int end = 0; end < 40; ++end) {
    accept(id);
  }
  const std::vector<FlowId> before = registry_.ends();
  EXPECT_EQ(before.size(), 40U);
  EXPECT_TRUE(std::ranges::is_sorted(before));
  registry_.release(before.back());
  EXPECT_GT(accept(id), before.back());
}

TEST_F(EndsTest, effects_are_drained_once) {
  const NameId id = name("log");
  EXPECT_TRUE(registry_.has_effects());
  EXPECT_EQ(registry_.take_effects().size(), 1U);
  EXPECT_FALSE(registry_.has_effects());
  EXPECT_THAT(registry_.take_effects(), IsEmpty());
  accept(id);
  EXPECT_TRUE(registry_.has_effects());
}

}  // namespace
}  // namespace flowfs::registry
