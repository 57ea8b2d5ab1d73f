// SPDX-License-Identifier: BSD-3-Clause
#include "base/timer_heap.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <utility>
#include <vector>

namespace flowfs {
namespace {

class Entry : public TimerHeap::Entry {
 public:
  explicit Entry(std::vector<const Entry*>& fired) : fired_(fired) {}

 private:
  void expired() override { fired_.push_back(this); }
  std::vector<const Entry*>& fired_;
};

Instant at(unsigned value) { return Instant() + Micros(value); }

// Against a sorted map, over random arming, moving, disarming and expiry.
TEST(TimerHeap, agrees_with_a_sorted_map) {
  constexpr unsigned kSeed = 20240229;
  std::mt19937 random(kSeed);
  TimerHeap heap;
  std::vector<const Entry*> fired;
  std::deque<Entry> entries;
  for (int i = 0; i < 200; ++i) {
    entries.emplace_back(fired);
  }
  std::map<std::pair<Instant, unsigned>, Entry*> model;
  auto forget = [&](const Entry& entry) {
    std::erase_if(model, [&](const auto& item) { return item.second == &entry; });
  };
  unsigned now = 0;
  for (unsigned step = 0; step < 20'000; ++step) {
    Entry& entry = entries[random() % entries.size()];
    const auto what = random() % 10;
    if (what < 7) {
      const Instant deadline = at(now + static_cast<unsigned>(random() % 100));
      forget(entry);
      model.emplace(std::pair(deadline, step), &entry);
      heap.arm(entry, deadline);
      ASSERT_EQ(entry.deadline(), deadline);
    } else if (what < 9) {
      forget(entry);
      heap.disarm(entry);
      ASSERT_EQ(entry.deadline(), kNever);
    } else {
      now += static_cast<unsigned>(random() % 30);
      std::vector<const Entry*> expected;
      while (!model.empty() && model.begin()->first.first <= at(now)) {
        expected.push_back(model.begin()->second);
        model.erase(model.begin());
      }
      fired.clear();
      heap.expire(at(now));
      ASSERT_EQ(fired, expected) << "seed " << kSeed << " step " << step;
    }
    ASSERT_EQ(heap.soonest(), model.empty() ? kNever : model.begin()->first.first);
  }
}

TEST(TimerHeap, never_is_not_armed) {
  TimerHeap heap;
  std::vector<const Entry*> fired;
  Entry entry(fired);
  heap.arm(entry, at(1));
  heap.arm(entry, kNever);
  EXPECT_EQ(heap.soonest(), kNever);
  heap.expire(kNever);
  EXPECT_TRUE(fired.empty());
}

TEST(Clock, later_stops_at_never) {
  EXPECT_EQ(later(at(5), Micros(7)), at(12));
  EXPECT_EQ(later(at(5), Micros::max()), kNever);
}

}  // namespace
}  // namespace flowfs
