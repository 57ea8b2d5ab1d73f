// SPDX-License-Identifier: BSD-3-Clause
// The life of an end as one table, and the one function that moves along it.
//
// Threads: none of its own; plain values.
// Errors: a transition that the table does not allow is a broken invariant (CHECK).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/result.hpp"
#include "registry/types.hpp"

namespace flowfs::registry {

inline constexpr std::size_t kFlowStates = 5;

namespace detail {

template <typename... States>
constexpr std::uint8_t states(States... to) {
  return static_cast<std::uint8_t>(((1U << static_cast<unsigned>(to)) | ... | 0U));
}

// Row: from. Bits: to. An end is born in one of the pending states.
inline constexpr std::array<std::uint8_t, kFlowStates> kTransitions = {
    /* alloc_pending   */ states(FlowState::allocated, FlowState::deallocated),
    /* accept_pending  */ states(FlowState::allocated, FlowState::deallocated),
    /* allocated       */ states(FlowState::dealloc_pending, FlowState::deallocated),
    /* dealloc_pending */ states(FlowState::deallocated),
    /* deallocated     */ states(),
};

}  // namespace detail

constexpr bool may_advance(FlowState from, FlowState to) {
  return (detail::kTransitions[static_cast<std::size_t>(from)] & detail::states(to)) != 0;
}

inline void advance(FlowState& state, FlowState to) {
  FLOWFS_CHECK(may_advance(state, to));
  state = to;
}

// Part of a flow that still carries data: what keeps its name in use.
constexpr bool is_alive(FlowState state) {
  return state == FlowState::allocated || state == FlowState::dealloc_pending;
}

}  // namespace flowfs::registry
