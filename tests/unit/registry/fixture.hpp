// SPDX-License-Identifier: BSD-3-Clause
// A registry with short words for what tests do to it. Every test ends with the invariants checked,
// everything removed, and all charges back at zero.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "registry/registry.hpp"

namespace flowfs::registry {

inline constexpr Instant kStart{std::chrono::seconds(1000)};
inline constexpr Rights kBoth{.receive = true, .send = true};
inline constexpr uid_t kOwner = 1000;
inline constexpr uid_t kAlice = 1001;
inline constexpr uid_t kBob = 1002;

template <typename T>
int error_of(const Result<T>& result) {
  return result ? 0 : result.error().error;
}

class RegistryTest : public ::testing::Test {
 protected:
  static Opener opener(uid_t uid, pid_t pid = 1) { return {uid, uid, pid}; }

  NameId name(std::string_view text, const NameSettings& settings = {}) {
    const Result<NameId> id = registry_.create_name(text, opener(kOwner), settings);
    EXPECT_EQ(error_of(id), 0) << text;
    return id.value_or(NameId{});
  }

  FlowId accept(NameId id, uid_t uid = kOwner, pid_t pid = 1) {
    const Result<FlowId> flow = registry_.open_accept(id, opener(uid, pid), kBoth, now_);
    EXPECT_EQ(error_of(flow), 0);
    return flow.value_or(kNoFlow);
  }

  Result<FlowId> try_dial(NameId id, uid_t uid = kAlice, bool nonblock = false) {
    return registry_.open_dial(id, opener(uid, 2), kBoth, nonblock, now_);
  }

  FlowId dial(NameId id, uid_t uid = kAlice) {
    const Result<FlowId> flow = try_dial(id, uid);
    EXPECT_EQ(error_of(flow), 0);
    return flow.value_or(kNoFlow);
  }

  [[nodiscard]] FlowState state(FlowId flow) const {
    const End* end = registry_.find_end(flow);
    EXPECT_NE(end, nullptr);
    return end == nullptr ? FlowState::deallocated : end->state;
  }

  [[nodiscard]] FlowId peer(FlowId flow) const {
    const End* end = registry_.find_end(flow);
    return end == nullptr ? kNoFlow : end->peer;
  }

  // The effects since the last call of any of these that are not events, or are, each as text.
  std::vector<std::string> effects() { return take(false); }
  std::vector<std::string> events() { return take(true); }

  void forget_effects() { static_cast<void>(registry_.take_effects()); }

  void TearDown() override {
    EXPECT_EQ(registry_.check_invariants(), "");
    for (const FlowId flow : registry_.ends()) {
      registry_.release(flow);
      ASSERT_EQ(registry_.check_invariants(), "");
    }
    remove_all_names();
    EXPECT_EQ(users_.total(Resource::names), 0U);
    EXPECT_EQ(users_.total(Resource::flows), 0U);
    for (const uid_t uid : users_.known()) {
      EXPECT_EQ(users_.used(uid, Resource::names), 0U) << uid;
      EXPECT_EQ(users_.used(uid, Resource::flows), 0U) << uid;
    }
  }

  Users users_{Users::Config::defaults()};
  Registry registry_{users_};
  Instant now_ = kStart;

 private:
  void remove_all_names() {
    std::vector<std::pair<std::string, bool>> entries;
    for (const Registry::Entry& entry : registry_.list()) {
      entries.emplace_back(entry.name, entry.is_alias);
    }
    for (const auto& [text, is_alias] : entries) {
      EXPECT_TRUE(is_alias ? registry_.remove_alias(text, 0) : registry_.remove_name(text, 0));
    }
  }

  std::vector<std::string> take(bool events) {
    std::vector<std::string> texts;
    for (const Effect& effect : registry_.take_effects()) {
      if (events == (effect.kind == Effect::Kind::event)) {
        texts.push_back(events ? event_text(effect.event) : effect_text(effect));
      }
    }
    return texts;
  }

  static std::string event_text(const Event& event) {
    std::string text =
        std::string(to_string(event.kind)) + " " + event.object + " " + std::to_string(event.uid);
    return event.detail.empty() ? text : text + " " + event.detail;
  }

  static std::string effect_text(const Effect& effect) {
    const std::string flow = std::to_string(static_cast<std::uint64_t>(effect.flow));
    const std::string peer = std::to_string(static_cast<std::uint64_t>(effect.peer));
    switch (effect.kind) {
      case Effect::Kind::established:
        return "established " + flow + " with " + peer;
      case Effect::Kind::failed:
        return "failed " + flow + " " + std::to_string(effect.error);
      case Effect::Kind::peer_gone:
        return "peer_gone " + flow + " lost " + peer;
      case Effect::Kind::event:
        break;
    }
    return "";
  }
};

}  // namespace flowfs::registry
