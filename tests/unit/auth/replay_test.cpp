// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <set>

#include "auth/rate_limit.hpp"
#include "auth/replay_cache.hpp"
#include "auth/replay_window.hpp"

namespace flowfs::auth {
namespace {

HeaderId id_of(unsigned number) { return {static_cast<std::byte>(number)}; }

TEST(ReplayCache, knows_a_request_by_its_time_and_id) {
  ReplayCache cache(10);
  cache.insert(100, id_of(1));
  EXPECT_TRUE(cache.seen(100, id_of(1)));
  EXPECT_FALSE(cache.seen(100, id_of(2)));
  EXPECT_FALSE(cache.seen(101, id_of(1)));
  EXPECT_FALSE(cache.seen(99, id_of(1)));
}

TEST(ReplayCache, stays_within_its_bound_and_forgets_nothing_that_it_would_let_in) {
  constexpr std::size_t kMost = 100;
  ReplayCache cache(kMost);
  std::mt19937 random(1);
  std::set<std::pair<std::uint64_t, HeaderId>> inserted;
  for (unsigned i = 0; i < 2'000; ++i) {
    const std::uint64_t time = 1'000 + random() % 500;
    const HeaderId id = id_of(random() % 256);
    cache.insert(time, id);
    inserted.emplace(time, id);
    ASSERT_LE(cache.size(), kMost);
  }
  for (const auto& [time, id] : inserted) {
    EXPECT_TRUE(cache.seen(time, id));
  }
  EXPECT_FALSE(cache.seen(2'000, id_of(1)));
}

TEST(RateLimit, gives_a_new_source_its_share_and_no_more) {
  RateLimit limit(100);
  const Instant start = Instant{} + std::chrono::hours(1);
  int admitted = 0;
  for (int i = 0; i < 100; ++i) {
    admitted += limit.admit(1, start) ? 1 : 0;
  }
  EXPECT_EQ(admitted, 10);  // a tenth of a second's worth
  EXPECT_TRUE(limit.admit(2, start));
  EXPECT_FALSE(limit.admit(1, start));
  EXPECT_TRUE(limit.admit(1, start + std::chrono::milliseconds(20)));
}

TEST(RateLimit, keeps_no_more_sources_than_its_bound_and_lets_the_rest_share) {
  RateLimit limit(10);
  const Instant start = Instant{} + std::chrono::hours(1);
  for (std::uint64_t source = 0; source < RateLimit::kMostSources; ++source) {
    ASSERT_TRUE(limit.admit(source, start));
  }
  EXPECT_TRUE(limit.admit(1'000'000, start));
  EXPECT_FALSE(limit.admit(1'000'001, start));  // the share of all the others is used up
  EXPECT_EQ(limit.sources(), RateLimit::kMostSources);
  EXPECT_TRUE(limit.admit(1'000'002, start + std::chrono::seconds(2)));
  EXPECT_EQ(limit.sources(), 1U);  // those that were idle are gone
}

TEST(ReplayWindow, lets_each_number_in_once_and_none_from_too_far_behind) {
  ReplayWindow window;
  EXPECT_TRUE(window.is_fresh(0));
  window.mark(0);
  EXPECT_FALSE(window.is_fresh(0));
  window.mark(5'000);
  EXPECT_FALSE(window.is_fresh(5'000));
  EXPECT_FALSE(window.is_fresh(0));
  EXPECT_FALSE(window.is_fresh(5'000 - ReplayWindow::kSize));
  EXPECT_TRUE(window.is_fresh(5'001 - ReplayWindow::kSize));
  for (std::uint64_t number = 5'001 - ReplayWindow::kSize; number < 5'000; ++number) {
    ASSERT_TRUE(window.is_fresh(number)) << number;
    window.mark(number);
    ASSERT_FALSE(window.is_fresh(number)) << number;
  }
  EXPECT_TRUE(window.is_fresh(5'001));
}

// Against a list of all that was marked.
TEST(ReplayWindow, agrees_with_a_list_of_what_was_seen) {
  ReplayWindow window;
  std::set<std::uint64_t> seen;
  std::mt19937 random(2);
  std::uint64_t top = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t step = random() % 10 == 0 ? random() % 3'000 : random() % 4;
    const std::uint64_t number = random() % 3 == 0 ? top + step : top - std::min(top, step * 300);
    const bool fresh =
        !seen.contains(number) && (seen.empty() || number + ReplayWindow::kSize > *seen.rbegin());
    ASSERT_EQ(window.is_fresh(number), fresh) << number << " of " << top;
    if (fresh) {
      window.mark(number);
      seen.insert(number);
      top = std::max(top, number);
    }
  }
}

}  // namespace
}  // namespace flowfs::auth
