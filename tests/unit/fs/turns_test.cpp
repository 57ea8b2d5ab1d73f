// SPDX-License-Identifier: BSD-3-Clause
#include "fs/turns.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace flowfs::fs {
namespace {

constexpr uid_t kAlice = 61001;
constexpr uid_t kBob = 61002;
constexpr uid_t kCarol = 61003;

// All that waits, in the order in which it is served.
std::string served(Turns<std::string>& turns) {
  std::string all;
  while (const auto next = turns.take()) {
    all += *next + " ";
  }
  return all;
}

TEST(Turns, serves_each_user_in_turn_and_what_is_his_in_its_order) {
  Turns<std::string> turns(100, 100);
  for (const char* item : {"a1", "a2", "a3", "a4"}) {
    ASSERT_TRUE(turns.try_add(kAlice, item));
  }
  ASSERT_TRUE(turns.try_add(kBob, "b1"));
  ASSERT_TRUE(turns.try_add(kCarol, "c1"));
  ASSERT_TRUE(turns.try_add(kBob, "b2"));
  EXPECT_EQ(turns.size(), 7U);
  EXPECT_EQ(served(turns), "a1 b1 c1 a2 b2 a3 a4 ");
  EXPECT_EQ(turns.size(), 0U);
}

TEST(Turns, come_soon_to_who_was_not_there) {
  Turns<std::string> turns(100, 100);
  for (const char* item : {"a1", "a2", "a3"}) {
    ASSERT_TRUE(turns.try_add(kAlice, item));
  }
  EXPECT_EQ(turns.take(), "a1");
  ASSERT_TRUE(turns.try_add(kBob, "b1"));
  EXPECT_EQ(served(turns), "a2 b1 a3 ");
  ASSERT_TRUE(turns.try_add(kAlice, "a4"));
  EXPECT_EQ(served(turns), "a4 ");
}

TEST(Turns, are_bounded_for_one_and_for_all) {
  Turns<std::string> turns(5, 3);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(turns.try_add(kAlice, "a"));
  }
  EXPECT_FALSE(turns.try_add(kAlice, "a"));
  ASSERT_TRUE(turns.try_add(kBob, "b"));
  ASSERT_TRUE(turns.try_add(kBob, "b"));
  EXPECT_FALSE(turns.try_add(kBob, "b"));
  EXPECT_FALSE(turns.try_add(kCarol, "c"));
  EXPECT_EQ(turns.take(), "a");
  EXPECT_TRUE(turns.try_add(kCarol, "c"));
  EXPECT_EQ(served(turns), "b a c b a ");
}

TEST(Turns, hand_on_what_can_only_be_moved) {
  Turns<std::unique_ptr<int>> turns(1, 1);
  ASSERT_TRUE(turns.try_add(kAlice, std::make_unique<int>(7)));
  EXPECT_EQ(**turns.take(), 7);
}

}  // namespace
}  // namespace flowfs::fs
