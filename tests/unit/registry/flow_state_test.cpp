// SPDX-License-Identifier: BSD-3-Clause
#include "registry/flow_state.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string_view>
#include <utility>

namespace flowfs::registry {
namespace {

constexpr std::array kAll = {FlowState::alloc_pending, FlowState::accept_pending,
                             FlowState::allocated, FlowState::dealloc_pending,
                             FlowState::deallocated};
static_assert(kAll.size() == kFlowStates);

const std::set<std::pair<FlowState, FlowState>> kAllowed = {
    {FlowState::alloc_pending, FlowState::allocated},
    {FlowState::alloc_pending, FlowState::deallocated},
    {FlowState::accept_pending, FlowState::allocated},
    {FlowState::accept_pending, FlowState::deallocated},
    {FlowState::allocated, FlowState::dealloc_pending},
    {FlowState::allocated, FlowState::deallocated},
    {FlowState::dealloc_pending, FlowState::deallocated},
};

TEST(FlowStateTest, every_pair_is_allowed_or_aborts) {
  for (const FlowState from : kAll) {
    for (const FlowState to : kAll) {
      SCOPED_TRACE(std::string(to_string(from)) + " to " + std::string(to_string(to)));
      const bool allowed = kAllowed.contains({from, to});
      EXPECT_EQ(may_advance(from, to), allowed);
      FlowState state = from;
      if (allowed) {
        advance(state, to);
        EXPECT_EQ(state, to);
      } else {
        EXPECT_DEATH(advance(state, to), "may_advance");
      }
    }
  }
}

TEST(FlowStateTest, carries_data_only_while_a_flow_exists) {
  EXPECT_FALSE(is_alive(FlowState::alloc_pending));
  EXPECT_FALSE(is_alive(FlowState::accept_pending));
  EXPECT_TRUE(is_alive(FlowState::allocated));
  EXPECT_TRUE(is_alive(FlowState::dealloc_pending));
  EXPECT_FALSE(is_alive(FlowState::deallocated));
}

TEST(FlowStateTest, is_written_as_the_contract_says) {
  EXPECT_EQ(to_string(FlowState::alloc_pending), "alloc-pending");
  EXPECT_EQ(to_string(FlowState::accept_pending), "accept-pending");
  EXPECT_EQ(to_string(FlowState::allocated), "allocated");
  EXPECT_EQ(to_string(FlowState::dealloc_pending), "dealloc-pending");
  EXPECT_EQ(to_string(FlowState::deallocated), "deallocated");
}

}  // namespace
}  // namespace flowfs::registry
