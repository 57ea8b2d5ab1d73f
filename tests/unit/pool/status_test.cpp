// SPDX-License-Identifier: BSD-3-Clause
#include "pool/status.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace flowfs::pool {
namespace {

StatusFile make(std::uint32_t slots = 256) {
  auto file = StatusFile::create(1'000, slots);
  EXPECT_TRUE(file.has_value());
  return std::move(*file);
}

TEST(Status, begins_with_a_header) {
  const StatusFile file = make();
  auto mapping = Mapping::map(file.fd(), file.bytes(), Mapping::Access::read_only);
  ASSERT_TRUE(mapping.has_value());
  const auto& header = *reinterpret_cast<const flowfs_status_header*>(mapping->data());
  EXPECT_EQ(header.magic, FLOWFS_STATUS_MAGIC);
  EXPECT_EQ(header.version, FLOWFS_LAYOUT_VERSION);
  EXPECT_EQ(header.slots, 256U);
  EXPECT_EQ(header.uid, 1'000U);
}

TEST(Status, is_seen_through_another_mapping) {
  StatusFile file = make();
  auto slot = file.allocate(7);
  ASSERT_TRUE(slot.has_value());
  EXPECT_NE(slot->index(), 0U);
  auto mapping = Mapping::map(file.fd(), file.bytes(), Mapping::Access::read_only);
  ASSERT_TRUE(mapping.has_value());
  const auto& words = reinterpret_cast<const flowfs_status*>(mapping->data())[slot->index()];
  EXPECT_EQ(words.flow, 7U);
  EXPECT_EQ(words.closed_at, FLOWFS_LANE_OPEN);
  slot->set_state(FLOWFS_STATE_ALLOCATED);
  slot->set_peer_state(FLOWFS_STATE_DEALLOC_PENDING);
  slot->set_peer({.flow = 8, .uid = 5, .gid = 6, .pid = 99});
  slot->add_flags(FLOWFS_STATUS_MUTE);
  slot->add_flags(FLOWFS_STATUS_PEER_DEAF);
  slot->close_lane(4'096);
  EXPECT_EQ(words.state, FLOWFS_STATE_ALLOCATED);
  EXPECT_EQ(words.peer_state, FLOWFS_STATE_DEALLOC_PENDING);
  EXPECT_EQ(words.peer_flow, 8U);
  EXPECT_EQ(words.peer_uid, 5U);
  EXPECT_EQ(words.peer_gid, 6U);
  EXPECT_EQ(words.peer_pid, 99U);
  EXPECT_EQ(words.flags, FLOWFS_STATUS_MUTE | FLOWFS_STATUS_PEER_DEAF);
  EXPECT_EQ(words.closed_at, 4'096U);
  slot->renew_lane(Generation{2}, 4'096);
  EXPECT_EQ(words.peer_generation, 2U);
  EXPECT_EQ(words.closed_at, FLOWFS_LANE_OPEN);
  EXPECT_EQ(words.retired_at, 4'096U);
}

TEST(Status, gives_a_freed_slot_to_another_end_clean) {
  StatusFile file = make();
  std::uint32_t index = 0;
  {
    auto slot = file.allocate(7);
    ASSERT_TRUE(slot.has_value());
    index = slot->index();
    slot->set_state(FLOWFS_STATE_ALLOCATED);
    slot->close_lane(16);
    slot->add_flags(FLOWFS_STATUS_CORRUPT);
    EXPECT_EQ(file.in_use(), 1U);
  }
  EXPECT_EQ(file.in_use(), 0U);
  auto again = file.allocate(9);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->index(), index);
  EXPECT_EQ(again->words().flow, 9U);
  EXPECT_EQ(again->words().state, FLOWFS_STATE_NONE);
  EXPECT_EQ(again->words().flags, 0U);
  EXPECT_EQ(again->words().closed_at, FLOWFS_LANE_OPEN);
}

TEST(Status, says_when_every_slot_is_taken) {
  StatusFile file = make(130);
  std::vector<StatusSlot> slots;
  for (std::uint64_t flow = 1; flow < 130; ++flow) {
    auto slot = file.allocate(flow);
    ASSERT_TRUE(slot.has_value()) << flow;
    slots.push_back(std::move(*slot));
  }
  auto none = file.allocate(1'000);
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().error, ENFILE);
  slots.erase(slots.begin() + 40);
  EXPECT_TRUE(file.allocate(1'000).has_value());
}

}  // namespace
}  // namespace flowfs::pool
