// SPDX-License-Identifier: BSD-3-Clause
#include "fixture.hpp"

namespace flowfs::registry {
namespace {

using ::testing::ElementsAre;

class BacklogTest : public RegistryTest {
 protected:
  NameId with_backlog(std::uint64_t backlog) {
    NameSettings settings;
    settings.backlog = backlog;
    return name("log", settings);
  }

  void set_backlog(NameId id, std::uint64_t backlog) {
    NameSettings settings;
    settings.backlog = backlog;
    registry_.set_settings(id, settings);
  }

  // Lets one server come for every waiting client; returns the clients in the order they were
  // served.
  std::vector<FlowId> serve_all(NameId id) {
    std::vector<FlowId> clients;
    while (registry_.waiting(id).backlog + registry_.waiting(id).overflow > 0) {
      clients.push_back(peer(accept(id)));
      EXPECT_EQ(registry_.check_invariants(), "");
    }
    return clients;
  }

  // Dials without blocking until there is no place; returns how many found one.
  std::uint64_t fill(NameId id, uid_t uid) {
    std::uint64_t found = 0;
    while (true) {
      const Result<FlowId> flow = try_dial(id, uid, true);
      if (!flow) {
        EXPECT_EQ(flow.error().error, EAGAIN);
        return found;
      }
      ++found;
    }
  }
};

TEST_F(BacklogTest, serves_first_in_first_out) {
  const NameId id = with_backlog(8);
  const FlowId first = dial(id, kOwner);
  const FlowId second = dial(id, kAlice);
  const FlowId third = dial(id, kOwner);
  EXPECT_THAT(serve_all(id), ElementsAre(first, second, third));
}

TEST_F(BacklogTest, a_full_backlog_gives_eagain_or_waits) {
  const NameId id = with_backlog(2);
  const FlowId first = dial(id, kOwner);
  const FlowId second = dial(id, kOwner);
  EXPECT_EQ(error_of(try_dial(id, kOwner, true)), EAGAIN);
  EXPECT_EQ(users_.used(kOwner, Resource::flows), 2U);
  EXPECT_EQ(registry_.find_name(id)->stats.refused, 0U);
  const FlowId third = dial(id, kOwner);
  EXPECT_EQ(state(third), FlowState::alloc_pending);
  EXPECT_EQ(registry_.waiting(id).backlog, 2U);
  EXPECT_EQ(registry_.waiting(id).overflow, 1U);
  EXPECT_THAT(serve_all(id), ElementsAre(first, second, third));
}

TEST_F(BacklogTest, a_freed_place_goes_to_the_overflow) {
  const NameId id = with_backlog(1);
  const FlowId first = dial(id, kOwner);
  const FlowId second = dial(id, kOwner);
  registry_.release(first);
  EXPECT_EQ(registry_.waiting(id).backlog, 1U);
  EXPECT_EQ(registry_.waiting(id).overflow, 0U);
  EXPECT_EQ(error_of(try_dial(id, kOwner, true)), EAGAIN);
  EXPECT_THAT(serve_all(id), ElementsAre(second));
}

TEST_F(BacklogTest, a_client_may_leave_the_overflow) {
  const NameId id = with_backlog(1);
  const FlowId first = dial(id, kOwner);
  const FlowId second = dial(id, kOwner);
  const FlowId third = dial(id, kOwner);
  registry_.release(second);
  EXPECT_THAT(serve_all(id), ElementsAre(first, third));
}

TEST_F(BacklogTest, the_overflow_times_out_from_its_dial) {
  const NameId id = with_backlog(1);
  dial(id, kOwner);
  now_ += Micros(5);
  const FlowId overflowing = dial(id, kOwner);
  EXPECT_EQ(registry_.find_end(overflowing)->deadline, now_ + std::chrono::seconds(10));
  registry_.tick(now_ + std::chrono::seconds(10));
  EXPECT_EQ(state(overflowing), FlowState::deallocated);
  EXPECT_EQ(registry_.find_name(id)->stats.timed_out, 2U);
  EXPECT_EQ(registry_.waiting(id).overflow, 0U);
}

TEST_F(BacklogTest, zero_admits_only_dials_that_find_a_server) {
  const NameId id = with_backlog(0);
  EXPECT_EQ(error_of(try_dial(id, kOwner, true)), EAGAIN);
  const FlowId server = accept(id);
  const Result<FlowId> client = try_dial(id, kOwner, true);
  ASSERT_TRUE(client);
  EXPECT_EQ(peer(*client), server);
  const FlowId first = dial(id, kAlice);
  const FlowId second = dial(id, kOwner);
  EXPECT_EQ(registry_.waiting(id).overflow, 2U);
  EXPECT_THAT(serve_all(id), ElementsAre(first, second));
}

TEST_F(BacklogTest, a_larger_backlog_admits_who_waits) {
  const NameId id = with_backlog(0);
  dial(id, kOwner);
  dial(id, kOwner);
  dial(id, kOwner);
  set_backlog(id, 2);
  EXPECT_EQ(registry_.waiting(id).backlog, 2U);
  EXPECT_EQ(registry_.waiting(id).overflow, 1U);
  set_backlog(id, kUnlimited);
  EXPECT_EQ(registry_.waiting(id).overflow, 0U);
  EXPECT_TRUE(try_dial(id, kAlice, true));
}

TEST_F(BacklogTest, a_smaller_backlog_takes_no_place_away) {
  const NameId id = with_backlog(4);
  for (int end = 0; end < 4; ++end) {
    dial(id, kOwner);
  }
  set_backlog(id, 1);
  EXPECT_EQ(registry_.waiting(id).backlog, 4U);
  dial(id, kOwner);
  EXPECT_EQ(registry_.check_invariants(), "");
  for (std::size_t left = 3; left > 0; --left) {
    accept(id);
    EXPECT_EQ(registry_.waiting(id).backlog, left);
    EXPECT_EQ(registry_.waiting(id).overflow, 1U);
  }
  accept(id);
  EXPECT_EQ(registry_.waiting(id).backlog, 1U);
}

TEST_F(BacklogTest, a_uid_that_used_its_share_leaves_places_to_others) {
  const NameId id = with_backlog(10);
  EXPECT_EQ(fill(id, kAlice), 5U);
  const FlowId waits = dial(id, kAlice);
  EXPECT_EQ(registry_.waiting(id).overflow, 1U);
  EXPECT_TRUE(try_dial(id, kBob, true));  // past the one that waits
  EXPECT_TRUE(try_dial(id, kOwner, true));
  const std::vector<FlowId> served = serve_all(id);
  EXPECT_EQ(served.size(), 8U);
  EXPECT_NE(std::ranges::find(served, waits), served.end());
}

TEST_F(BacklogTest, the_first_eligible_of_the_overflow_moves_up) {
  const NameId id = with_backlog(2);
  const FlowId of_alice = dial(id, kAlice);  // her share
  const FlowId of_owner = dial(id, kOwner);
  const FlowId alice_waits = dial(id, kAlice);
  const FlowId bob_waits = dial(id, kBob);
  registry_.release(of_owner);
  // Alice has waited longer, but holds her share.
  EXPECT_EQ(registry_.waiting(id).overflow, 1U);
  EXPECT_THAT(serve_all(id), ElementsAre(of_alice, bob_waits, alice_waits));
}

TEST_F(BacklogTest, eight_colluding_uids_leave_the_owner_a_tenth) {
  constexpr std::uint64_t kPlaces = 128;
  const NameId id = with_backlog(kPlaces);
  std::vector<FlowId> overflowing;
  for (uid_t uid = 1; uid <= 8; ++uid) {
    fill(id, uid);
    for (int end = 0; end < 50; ++end) {  // and as many that wait for a place
      overflowing.push_back(dial(id, uid));
    }
  }
  EXPECT_EQ(registry_.waiting(id).overflow, overflowing.size());
  // However servers come and go, the owner always finds its tenth.
  for (int round = 0; round < 300; ++round) {
    accept(id);
    const Registry::Waiting waiting = registry_.waiting(id);
    ASSERT_GE(kPlaces - waiting.backlog, kPlaces / 10);
  }
  EXPECT_GE(fill(id, kOwner), kPlaces / 10);
}

TEST_F(BacklogTest, ten_thousands_may_wait) {
  const NameId id = with_backlog(5'000);
  users_.set_limit(kAlice, Resource::flows, kUnlimited);
  users_.set_limit(kOwner, Resource::flows, kUnlimited);
  std::vector<FlowId> clients;
  for (int end = 0; end < 20'000; ++end) {
    clients.push_back(dial(id, kAlice));
  }
  EXPECT_EQ(registry_.waiting(id).backlog, 2'500U);
  for (const FlowId client : clients) {
    ASSERT_EQ(peer(accept(id)), client);
  }
  EXPECT_EQ(registry_.check_invariants(), "");
  for (const FlowId flow : registry_.ends()) {  // else TearDown checks after each
    registry_.release(flow);
  }
}

}  // namespace
}  // namespace flowfs::registry
