// SPDX-License-Identifier: BSD-3-Clause
// LockTable: who gets a lock, who waits, and that nothing is left behind.
#include <gmock/gmock.h>

#include "fs/locks.hpp"

namespace flowfs::fs {
namespace {

using Outcome = LockTable::Outcome;
using Ticket = LockTable::Ticket;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr auto kShared = LockMode::shared;
constexpr auto kExclusive = LockMode::exclusive;

// Owner N's claims come by file N, its pid is 1000 + N.
class LockTableTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kNode = 77;

  const void* file(std::uint64_t number) const { return files_ + number; }

  LockClaim posix(std::uint64_t owner, LockMode mode, LockRange range = {},
                  std::uint64_t node = kNode) const {
    return {{node, LockKind::posix}, file(owner), owner, pid_t(1000 + owner), mode, range};
  }
  LockClaim flock(std::uint64_t owner, LockMode mode) const {
    return {{kNode, LockKind::flock}, file(owner), owner, 0, mode, {}};
  }
  // Lets a claim that must conflict wait.
  Ticket wait(const LockClaim& claim) {
    EXPECT_EQ(table_.lock(claim), Outcome::conflict);
    const auto ticket = table_.wait(claim);
    EXPECT_TRUE(ticket.has_value());
    return ticket.value_or(Ticket{0});
  }
  void drop(std::uint64_t owner, std::uint64_t node = kNode) {
    table_.drop_file(node, file(owner));
  }
  std::vector<Ticket> granted() {
    std::vector<Ticket> tickets;
    for (const LockTable::Ended& ended : table_.take_ended()) {
      EXPECT_EQ(ended.outcome, Outcome::granted);
      tickets.push_back(ended.ticket);
    }
    return tickets;
  }

  char files_[2048]{};
  LockTable table_;
};

TEST_F(LockTableTest, shared_locks_go_together) {
  EXPECT_EQ(table_.lock(posix(1, kShared)), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(2, kShared)), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(3, kExclusive)), Outcome::conflict);
}

TEST_F(LockTableTest, an_exclusive_lock_stands_against_all_others) {
  EXPECT_EQ(table_.lock(posix(1, kExclusive)), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(2, kShared)), Outcome::conflict);
  EXPECT_EQ(table_.lock(posix(2, kExclusive)), Outcome::conflict);
}

TEST_F(LockTableTest, ranges_that_do_not_overlap_do_not_conflict) {
  EXPECT_EQ(table_.lock(posix(1, kExclusive, {0, 9})), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(2, kExclusive, {10, kLastByte})), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(3, kShared, {9, 10})), Outcome::conflict);
}

TEST_F(LockTableTest, nodes_and_kinds_do_not_see_each_other) {
  EXPECT_EQ(table_.lock(posix(1, kExclusive)), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(2, kExclusive, {}, kNode + 1)), Outcome::granted);
  EXPECT_EQ(table_.lock(flock(2, kExclusive)), Outcome::granted);
  EXPECT_EQ(table_.lock(flock(1, kExclusive)), Outcome::conflict);
}

TEST_F(LockTableTest, an_owner_does_not_conflict_with_itself) {
  EXPECT_EQ(table_.lock(posix(1, kExclusive, {0, 9})), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(1, kShared, {5, 20})), Outcome::granted);
  EXPECT_EQ(table_.range_count(), 2U);
  EXPECT_EQ(table_.lock(posix(2, kShared, {5, 20})), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(2, kShared, {4, 4})), Outcome::conflict);
}

TEST_F(LockTableTest, a_refused_upgrade_keeps_the_shared_lock) {
  EXPECT_EQ(table_.lock(posix(1, kShared)), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(2, kShared)), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(1, kExclusive)), Outcome::conflict);
  EXPECT_EQ(table_.unlock(posix(2, kShared)), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(2, kExclusive)), Outcome::conflict);
}

TEST_F(LockTableTest, tells_the_lock_that_stands_against_a_claim) {
  ASSERT_EQ(table_.lock(posix(1, kShared, {10, 19})), Outcome::granted);
  const auto held = table_.lock_against(posix(2, kExclusive, {0, 15}));
  ASSERT_TRUE(held);
  EXPECT_EQ(held->span, (LockSpan{{10, 19}, kShared}));
  EXPECT_EQ(held->pid, 1001);
  EXPECT_FALSE(table_.lock_against(posix(2, kShared, {0, 15})));
  EXPECT_FALSE(table_.lock_against(posix(2, kExclusive, {0, 9})));
  EXPECT_FALSE(table_.lock_against(posix(1, kExclusive)));
  EXPECT_FALSE(table_.lock_against(posix(2, kExclusive, {}, kNode + 1)));
}

TEST_F(LockTableTest, a_waiter_is_served_when_the_lock_goes) {
  ASSERT_EQ(table_.lock(posix(1, kExclusive)), Outcome::granted);
  const Ticket waiting = wait(posix(2, kExclusive));
  EXPECT_THAT(granted(), IsEmpty());
  EXPECT_EQ(table_.unlock(posix(1, kExclusive)), Outcome::granted);
  EXPECT_THAT(granted(), ElementsAre(waiting));
  EXPECT_EQ(table_.lock(posix(1, kShared)), Outcome::conflict);
}

TEST_F(LockTableTest, unlocking_other_bytes_wakes_nobody) {
  ASSERT_EQ(table_.lock(posix(1, kExclusive, {0, 19})), Outcome::granted);
  const Ticket waiting = wait(posix(2, kExclusive, {5, 12}));
  EXPECT_EQ(table_.unlock(posix(1, kExclusive, {0, 9})), Outcome::granted);
  EXPECT_THAT(granted(), IsEmpty());
  EXPECT_EQ(table_.unlock(posix(1, kExclusive, {10, 12})), Outcome::granted);
  EXPECT_THAT(granted(), ElementsAre(waiting));
}

TEST_F(LockTableTest, waiters_are_served_in_the_order_they_came) {
  ASSERT_EQ(table_.lock(flock(1, kExclusive)), Outcome::granted);
  const Ticket second = wait(flock(2, kExclusive));
  const Ticket third = wait(flock(3, kExclusive));
  EXPECT_EQ(table_.unlock(flock(1, kExclusive)), Outcome::granted);
  EXPECT_THAT(granted(), ElementsAre(second));
  drop(2);
  EXPECT_THAT(granted(), ElementsAre(third));
}

TEST_F(LockTableTest, shared_waiters_are_served_together) {
  ASSERT_EQ(table_.lock(flock(1, kExclusive)), Outcome::granted);
  const Ticket second = wait(flock(2, kShared));
  const Ticket third = wait(flock(3, kExclusive));
  const Ticket fourth = wait(flock(4, kShared));
  EXPECT_EQ(table_.unlock(flock(1, kExclusive)), Outcome::granted);
  EXPECT_THAT(granted(), ElementsAre(second, fourth));
  drop(2);
  drop(4);
  EXPECT_THAT(granted(), ElementsAre(third));
}

TEST_F(LockTableTest, a_downgrade_serves_readers) {
  ASSERT_EQ(table_.lock(posix(1, kExclusive, {0, 9})), Outcome::granted);
  const Ticket waiting = wait(posix(2, kShared, {0, 4}));
  ASSERT_EQ(table_.lock(posix(1, kShared, {0, 4})), Outcome::granted);
  EXPECT_THAT(granted(), ElementsAre(waiting));
}

// Granting 3's wait gives back its exclusive lock, which the earlier wait of 2 was for.
TEST_F(LockTableTest, a_downgrade_that_waited_serves_who_came_earlier) {
  ASSERT_EQ(table_.lock(posix(1, kExclusive, {10, 19})), Outcome::granted);
  ASSERT_EQ(table_.lock(posix(3, kExclusive, {0, 9})), Outcome::granted);
  const Ticket second = wait(posix(2, kShared, {0, 9}));
  const Ticket third = wait(posix(3, kShared, {0, 19}));
  ASSERT_EQ(table_.unlock(posix(1, kExclusive)), Outcome::granted);
  EXPECT_THAT(granted(), ElementsAre(third, second));
}

TEST_F(LockTableTest, a_cancelled_wait_is_never_served) {
  ASSERT_EQ(table_.lock(posix(1, kExclusive)), Outcome::granted);
  const Ticket second = wait(posix(2, kExclusive));
  const Ticket third = wait(posix(3, kExclusive));
  table_.cancel(second);
  table_.cancel(second);  // already gone
  EXPECT_EQ(table_.waiting_count(), 1U);
  drop(1);
  EXPECT_THAT(granted(), ElementsAre(third));
}

TEST_F(LockTableTest, flock_gives_its_lock_away_before_it_changes_mode) {
  ASSERT_EQ(table_.lock(flock(1, kShared)), Outcome::granted);
  ASSERT_EQ(table_.lock(flock(2, kShared)), Outcome::granted);
  const Ticket first = wait(flock(1, kExclusive));
  EXPECT_THAT(granted(), IsEmpty());
  EXPECT_EQ(table_.lock(flock(2, kExclusive)), Outcome::conflict);  // 1 is served in between
  EXPECT_THAT(granted(), ElementsAre(first));
}

TEST_F(LockTableTest, flock_changes_mode_alone) {
  ASSERT_EQ(table_.lock(flock(1, kShared)), Outcome::granted);
  ASSERT_EQ(table_.lock(flock(1, kExclusive)), Outcome::granted);
  EXPECT_EQ(table_.lock(flock(2, kShared)), Outcome::conflict);
  ASSERT_EQ(table_.lock(flock(1, kShared)), Outcome::granted);
  EXPECT_EQ(table_.lock(flock(2, kShared)), Outcome::granted);
  EXPECT_EQ(table_.range_count(), 2U);
}

TEST_F(LockTableTest, a_circle_of_two_is_a_deadlock) {
  ASSERT_EQ(table_.lock(posix(1, kExclusive, {0, 0})), Outcome::granted);
  ASSERT_EQ(table_.lock(posix(2, kExclusive, {1, 1})), Outcome::granted);
  EXPECT_FALSE(table_.would_deadlock(posix(1, kExclusive, {1, 1})));
  wait(posix(1, kExclusive, {1, 1}));
  EXPECT_TRUE(table_.would_deadlock(posix(2, kExclusive, {0, 0})));
  EXPECT_FALSE(table_.would_deadlock(posix(3, kExclusive, {0, 0})));
}

TEST_F(LockTableTest, two_upgrades_are_a_deadlock) {
  ASSERT_EQ(table_.lock(posix(1, kShared)), Outcome::granted);
  ASSERT_EQ(table_.lock(posix(2, kShared)), Outcome::granted);
  wait(posix(1, kExclusive));
  EXPECT_TRUE(table_.would_deadlock(posix(2, kExclusive)));
}

TEST_F(LockTableTest, a_circle_over_several_nodes_is_a_deadlock) {
  for (std::uint64_t owner = 1; owner <= 4; ++owner) {
    ASSERT_EQ(table_.lock(posix(owner, kExclusive, {}, owner)), Outcome::granted);
  }
  for (std::uint64_t owner = 1; owner <= 3; ++owner) {
    ASSERT_FALSE(table_.would_deadlock(posix(owner, kShared, {}, owner + 1)));
    wait(posix(owner, kShared, {}, owner + 1));
  }
  EXPECT_TRUE(table_.would_deadlock(posix(4, kShared, {}, 1)));
  drop(1, 1);  // whoever held the node: no circle any more
  EXPECT_FALSE(table_.would_deadlock(posix(4, kShared, {}, 1)));
}

TEST_F(LockTableTest, a_circle_that_is_not_ones_own_is_passed_by) {
  ASSERT_EQ(table_.lock(posix(1, kExclusive, {0, 0})), Outcome::granted);
  ASSERT_EQ(table_.lock(posix(2, kExclusive, {1, 1})), Outcome::granted);
  wait(posix(1, kExclusive, {1, 1}));
  wait(posix(2, kExclusive, {0, 0}));  // without having asked
  EXPECT_FALSE(table_.would_deadlock(posix(3, kExclusive, {0, 0})));
}

TEST_F(LockTableTest, a_cancelled_wait_makes_no_circle) {
  ASSERT_EQ(table_.lock(posix(1, kExclusive, {0, 0})), Outcome::granted);
  ASSERT_EQ(table_.lock(posix(2, kExclusive, {1, 1})), Outcome::granted);
  table_.cancel(wait(posix(1, kExclusive, {1, 1})));
  EXPECT_FALSE(table_.would_deadlock(posix(2, kExclusive, {0, 0})));
}

TEST_F(LockTableTest, flock_knows_no_deadlock) {
  ASSERT_EQ(table_.lock(flock(1, kExclusive)), Outcome::granted);
  wait(flock(2, kExclusive));
  EXPECT_FALSE(table_.would_deadlock(flock(3, kExclusive)));
}

TEST_F(LockTableTest, a_file_has_so_many_ranges_and_no_more) {
  const std::uint64_t most = LockTable::kMostRanges;
  for (std::uint64_t i = 0; i < most; ++i) {
    ASSERT_EQ(table_.lock(posix(1, kShared, {10 * i, 10 * i + 5})), Outcome::granted);
  }
  EXPECT_EQ(table_.lock(posix(1, kShared, {10 * most, 10 * most})), Outcome::full);
  EXPECT_EQ(table_.unlock(posix(1, kShared, {2, 3})), Outcome::full);  // would cut one in two
  EXPECT_EQ(table_.range_count(), most);
  EXPECT_EQ(table_.lock(posix(1, kShared, {6, 9})), Outcome::granted);  // joins two
  EXPECT_EQ(table_.unlock(posix(1, kShared, {2, 3})), Outcome::granted);
  EXPECT_EQ(table_.lock(posix(2, kShared)), Outcome::granted);  // another file
}

TEST_F(LockTableTest, owners_that_share_a_file_share_its_ranges) {
  const std::uint64_t most = LockTable::kMostRanges;
  for (std::uint64_t owner = 1; owner <= most; ++owner) {
    LockClaim claim = posix(owner, kShared);
    claim.file = file(0);
    ASSERT_EQ(table_.lock(claim), Outcome::granted);
  }
  LockClaim claim = posix(most + 1, kShared);
  claim.file = file(0);
  EXPECT_EQ(table_.lock(claim), Outcome::full);
  drop(0);
  EXPECT_TRUE(table_.empty());
}

TEST_F(LockTableTest, a_wait_that_ends_over_the_limit_is_told) {
  const std::uint64_t most = LockTable::kMostRanges;
  ASSERT_EQ(table_.lock(posix(2, kExclusive, {1'000'000, 1'000'000})), Outcome::granted);
  const Ticket waiting = wait(posix(1, kShared, {1'000'000, 1'000'000}));
  for (std::uint64_t i = 0; i < most; ++i) {
    ASSERT_EQ(table_.lock(posix(1, kShared, {2 * i, 2 * i})), Outcome::granted);
  }
  drop(2);
  const auto ended = table_.take_ended();
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0], (LockTable::Ended{waiting, Outcome::full}));
}

TEST_F(LockTableTest, a_space_has_so_many_owners_and_no_more) {
  for (std::uint64_t owner = 1; owner <= LockTable::kMostOwners; ++owner) {
    ASSERT_EQ(table_.lock(posix(owner, kShared)), Outcome::granted);
  }
  EXPECT_EQ(table_.lock(posix(LockTable::kMostOwners + 1, kShared)), Outcome::full);
  EXPECT_EQ(table_.unlock(posix(LockTable::kMostOwners + 1, kShared)), Outcome::granted);
  drop(1);
  EXPECT_EQ(table_.lock(posix(LockTable::kMostOwners + 1, kShared)), Outcome::granted);
}

TEST_F(LockTableTest, so_many_wait_and_no_more) {
  ASSERT_EQ(table_.lock(posix(0, kExclusive)), Outcome::granted);
  for (std::uint64_t owner = 1; owner <= LockTable::kMostWaiting; ++owner) {
    ASSERT_TRUE(table_.wait(posix(owner, kShared)));
  }
  EXPECT_FALSE(table_.wait(posix(LockTable::kMostWaiting + 1, kShared)));
}

TEST_F(LockTableTest, dropping_an_owner_takes_its_posix_locks_alone) {
  ASSERT_EQ(table_.lock(posix(1, kExclusive, {0, 4})), Outcome::granted);
  ASSERT_EQ(table_.lock(posix(2, kExclusive, {5, 9})), Outcome::granted);
  ASSERT_EQ(table_.lock(flock(1, kExclusive)), Outcome::granted);
  const Ticket waiting = wait(posix(3, kExclusive, {0, 4}));
  table_.drop_owner({kNode, LockKind::posix}, 1);
  EXPECT_THAT(granted(), ElementsAre(waiting));
  EXPECT_EQ(table_.lock(posix(3, kExclusive, {5, 9})), Outcome::conflict);
  EXPECT_EQ(table_.lock(flock(3, kExclusive)), Outcome::conflict);
}

TEST_F(LockTableTest, dropping_a_file_takes_all_of_it_and_leaves_nothing) {
  ASSERT_EQ(table_.lock(posix(1, kExclusive)), Outcome::granted);
  ASSERT_EQ(table_.lock(flock(1, kShared)), Outcome::granted);
  const Ticket second = wait(posix(2, kShared));
  const Ticket third = wait(posix(3, kShared));
  drop(2);
  auto ended = table_.take_ended();
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0], (LockTable::Ended{second, Outcome::dropped}));
  drop(1);
  EXPECT_THAT(granted(), ElementsAre(third));
  drop(3);
  EXPECT_TRUE(table_.empty());
  EXPECT_EQ(table_.range_count(), 0U);
  EXPECT_EQ(table_.waiting_count(), 0U);
}

TEST_F(LockTableTest, unlocking_leaves_nothing) {
  ASSERT_EQ(table_.unlock(posix(1, kShared)), Outcome::granted);
  EXPECT_TRUE(table_.empty());
  ASSERT_EQ(table_.lock(posix(1, kShared, {3, 5})), Outcome::granted);
  EXPECT_FALSE(table_.empty());
  ASSERT_EQ(table_.unlock(posix(1, kShared)), Outcome::granted);
  EXPECT_TRUE(table_.empty());
}

}  // namespace
}  // namespace flowfs::fs
