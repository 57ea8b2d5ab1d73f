// SPDX-License-Identifier: BSD-3-Clause
#include "fixture.hpp"

namespace flowfs::registry {
namespace {

class BalanceTest : public RegistryTest {
 protected:
  NameId balanced(Balance balance) {
    NameSettings settings;
    settings.balance = balance;
    return name("log", settings);
  }
};

TEST_F(BalanceTest, fifo_serves_the_longest_waiting_server) {
  const NameId id = balanced(Balance::fifo);
  const FlowId first = accept(id, kOwner, 3);
  const FlowId second = accept(id, kOwner, 1);
  const FlowId third = accept(id, kOwner, 3);
  EXPECT_EQ(peer(dial(id)), first);
  EXPECT_EQ(peer(dial(id)), second);
  EXPECT_EQ(peer(dial(id)), third);
}

TEST_F(BalanceTest, round_robin_serves_whoever_was_served_least_recently) {
  const NameId id = balanced(Balance::round_robin);
  const FlowId a1 = accept(id, kOwner, 1);
  const FlowId a2 = accept(id, kOwner, 1);
  const FlowId a3 = accept(id, kOwner, 1);
  const FlowId b1 = accept(id, kOwner, 2);
  const FlowId b2 = accept(id, kAlice, 2);  // another process: the uid differs
  EXPECT_EQ(peer(dial(id)), a1);
  EXPECT_EQ(peer(dial(id)), b1);
  EXPECT_EQ(peer(dial(id)), b2);
  EXPECT_EQ(peer(dial(id)), a2);
  const FlowId b3 = accept(id, kOwner, 2);
  EXPECT_EQ(peer(dial(id)), b3);
  EXPECT_EQ(peer(dial(id)), a3);
}

TEST_F(BalanceTest, round_robin_remembers_a_server_that_has_no_flow_left) {
  const NameId id = balanced(Balance::round_robin);
  const FlowId served = accept(id, kOwner, 1);
  registry_.release(dial(id));
  registry_.release(served);
  const FlowId again = accept(id, kOwner, 1);
  const FlowId fresh = accept(id, kOwner, 2);
  EXPECT_EQ(peer(dial(id)), fresh);
  EXPECT_EQ(peer(dial(id)), again);
}

TEST_F(BalanceTest, round_robin_counts_flows_that_a_waiting_client_brought) {
  const NameId id = balanced(Balance::round_robin);
  dial(id);
  accept(id, kOwner, 1);  // served at once
  accept(id, kOwner, 1);
  const FlowId fresh = accept(id, kOwner, 2);
  EXPECT_EQ(peer(dial(id)), fresh);
}

TEST_F(BalanceTest, round_robin_forgets_the_server_served_longest_ago) {
  const NameId id = balanced(Balance::round_robin);
  constexpr pid_t kProcesses = static_cast<pid_t>(WaitingServers::kRemembered) + 1;
  for (pid_t pid = 1; pid <= kProcesses; ++pid) {
    const FlowId server = accept(id, kOwner, pid);
    registry_.release(dial(id));
    registry_.release(server);
  }
  const FlowId remembered = accept(id, kOwner, 2);
  const FlowId forgotten = accept(id, kOwner, 1);
  const FlowId recent = accept(id, kOwner, kProcesses);
  EXPECT_EQ(peer(dial(id)), forgotten);
  EXPECT_EQ(peer(dial(id)), remembered);
  EXPECT_EQ(peer(dial(id)), recent);
}

TEST_F(BalanceTest, least_flows_serves_whoever_has_fewest) {
  const NameId id = balanced(Balance::least_flows);
  const FlowId a1 = accept(id, kOwner, 1);
  const FlowId a2 = accept(id, kOwner, 1);
  const FlowId a3 = accept(id, kOwner, 1);
  const FlowId b1 = accept(id, kOwner, 2);
  EXPECT_EQ(peer(dial(id)), a1);
  const FlowId client_of_b = dial(id);
  EXPECT_EQ(peer(client_of_b), b1);
  const FlowId b2 = accept(id, kOwner, 2);
  EXPECT_EQ(peer(dial(id)), a2);  // one each: first in, first out
  EXPECT_EQ(peer(dial(id)), b2);
  registry_.release(a1);
  registry_.release(a2);
  const FlowId b3 = accept(id, kOwner, 2);
  EXPECT_EQ(peer(dial(id)), a3);
  registry_.release(client_of_b);  // b's end is still there, so b has as many as before
  const FlowId a4 = accept(id, kOwner, 1);
  EXPECT_EQ(peer(dial(id)), a4);
  EXPECT_EQ(state(b3), FlowState::accept_pending);
}

TEST_F(BalanceTest, least_flows_counts_those_of_the_name_alone) {
  const NameId id = balanced(Balance::least_flows);
  const NameId elsewhere = name("elsewhere");
  accept(elsewhere, kOwner, 1);
  dial(elsewhere);
  const FlowId first = accept(id, kOwner, 1);
  accept(id, kOwner, 2);
  EXPECT_EQ(peer(dial(id)), first);
}

TEST_F(BalanceTest, a_closed_end_is_no_load) {
  const NameId id = balanced(Balance::least_flows);
  const FlowId closed = accept(id, kOwner, 1);
  dial(id);
  registry_.close(closed, 0);
  const FlowId first = accept(id, kOwner, 1);
  accept(id, kOwner, 2);
  EXPECT_EQ(peer(dial(id)), first);
}

TEST_F(BalanceTest, a_new_balance_holds_for_servers_that_wait_already) {
  const NameId id = balanced(Balance::fifo);
  const FlowId a1 = accept(id, kOwner, 1);
  const FlowId a2 = accept(id, kOwner, 1);
  const FlowId b1 = accept(id, kOwner, 2);
  EXPECT_EQ(peer(dial(id)), a1);
  NameSettings settings;
  settings.balance = Balance::least_flows;
  registry_.set_settings(id, settings);
  EXPECT_EQ(peer(dial(id)), b1);
  EXPECT_EQ(peer(dial(id)), a2);
}

TEST_F(BalanceTest, ranks_ten_thousands_of_ends_of_one_process) {
  const NameId id = balanced(Balance::least_flows);
  users_.set_limit(kOwner, Resource::flows, kUnlimited);
  std::vector<FlowId> servers;
  for (int end = 0; end < 20'000; ++end) {
    servers.push_back(accept(id));
  }
  for (const FlowId server : servers) {
    ASSERT_EQ(peer(dial(id)), server);
  }
  EXPECT_EQ(registry_.check_invariants(), "");
  for (const FlowId flow : registry_.ends()) {  // else TearDown checks after each
    registry_.release(flow);
  }
}

}  // namespace
}  // namespace flowfs::registry
