// SPDX-License-Identifier: BSD-3-Clause
#include "cli/payload.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace flowfs::cli {
namespace {

using Bytes = std::vector<std::byte>;

Bytes numbered(std::uint64_t sequence, std::size_t bytes) {
  Bytes payload(bytes, std::byte{0xee});
  put_sequence(sequence, payload);
  return payload;
}

SequenceCheck see(const std::vector<std::uint64_t>& sequences, std::size_t bytes = 8) {
  SequenceCheck check;
  for (const std::uint64_t sequence : sequences) {
    check.see(numbered(sequence, bytes));
  }
  return check;
}

TEST(Payload, begins_with_the_number_little_end_first) {
  EXPECT_EQ(numbered(0x0102, 3), (Bytes{std::byte{2}, std::byte{1}, std::byte{0}}));
  EXPECT_EQ(numbered(0x0102030405060708, 10)[0], std::byte{8});
  EXPECT_EQ(numbered(0x0102030405060708, 10)[7], std::byte{1});
}

TEST(Payload, leaves_what_follows_the_number) {
  EXPECT_EQ(numbered(1, 10)[8], std::byte{0xee});
  EXPECT_EQ(numbered(1, 10)[9], std::byte{0xee});
}

TEST(Payload, has_another_pattern_in_each_message) {
  Bytes first(64);
  Bytes second(64);
  fill_payload(1, first);
  fill_payload(2, second);
  for (std::size_t at = 8; at < first.size(); ++at) {
    EXPECT_NE(first[at], second[at]);
  }
}

TEST(Payload, nothing_fits_into_nothing) {
  Bytes none;
  fill_payload(1, none);
  EXPECT_TRUE(none.empty());
}

TEST(SequenceCheck, is_content_with_all_in_order) {
  const SequenceCheck check = see({1, 2, 3});
  EXPECT_TRUE(check.good());
  EXPECT_EQ(check.seen(), 3U);
}

TEST(SequenceCheck, counts_each_message_of_a_gap) {
  const SequenceCheck check = see({1, 5, 6});
  EXPECT_FALSE(check.good());
  EXPECT_EQ(check.lost(), 3U);
  EXPECT_EQ(check.disordered(), 0U);
}

TEST(SequenceCheck, notices_that_the_first_are_missing) { EXPECT_EQ(see({3}).lost(), 2U); }

TEST(SequenceCheck, notices_a_message_that_came_twice) {
  const SequenceCheck check = see({1, 2, 2, 3});
  EXPECT_EQ(check.lost(), 0U);
  EXPECT_EQ(check.disordered(), 1U);
}

TEST(SequenceCheck, notices_two_that_changed_places) {
  const SequenceCheck check = see({1, 3, 2, 4});
  EXPECT_EQ(check.lost(), 1U);
  EXPECT_EQ(check.disordered(), 1U);
}

TEST(SequenceCheck, follows_short_numbers_round_their_range) {
  SequenceCheck check;
  for (std::uint64_t sequence = 1; sequence <= 1000; ++sequence) {
    check.see(numbered(sequence, 1));
  }
  EXPECT_TRUE(check.good());
  check.see(numbered(1003, 1));
  EXPECT_EQ(check.lost(), 2U);
}

TEST(SequenceCheck, takes_what_is_not_numbered_for_disorder) {
  SequenceCheck check;
  check.see(Bytes(16, std::byte{0xff}));
  EXPECT_FALSE(check.good());
}

}  // namespace
}  // namespace flowfs::cli
