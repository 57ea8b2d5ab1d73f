// SPDX-License-Identifier: BSD-3-Clause
// A lane against a queue of strings, over random operations.
#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <random>

#include "lane_fixture.hpp"

namespace flowfs::pool {
namespace {

using test::bytes;
using test::Lane;
using Outcome = LaneWriter::Outcome;

struct Model {
  std::deque<std::string> published;
  std::deque<std::string> staged;
};

std::string random_message(std::mt19937& random, const Geometry& geometry) {
  const bool is_long = random() % 4 == 0;
  const std::size_t most = is_long ? geometry.mtu_bytes : geometry.inline_bytes;
  return std::string(1 + random() % most, static_cast<char>('a' + random() % 26));
}

// Lends the longest that has room, stages some of it or none.
void loan(std::mt19937& random, Lane& lane, Model& model) {
  std::string message = random_message(random, lane.geometry);
  const std::size_t lent =
      std::min<std::size_t>(message.size() + random() % 500, lane.geometry.mtu_bytes);
  std::span<std::byte> place;
  const Outcome outcome = lane.writer.loan(lent, place);
  ASSERT_NE(outcome, Outcome::corrupt);
  if (outcome != Outcome::ok) {
    return;
  }
  std::memset(place.data(), '?', place.size());
  if (random() % 4 == 0) {
    lane.writer.cancel_loan();
    return;
  }
  std::memcpy(place.data(), message.data(), message.size());
  lane.writer.stage_loan(message.size());
  model.staged.push_back(std::move(message));
}

void step(std::mt19937& random, Lane& lane, Model& model) {
  switch (random() % 9) {
    case 0:
    case 1:
    case 2: {
      std::string message = random_message(random, lane.geometry);
      const Outcome room = lane.writer.room_for(message.size());
      const Outcome outcome = lane.writer.stage(bytes(message));
      ASSERT_EQ(outcome, room);
      ASSERT_NE(outcome, Outcome::corrupt);
      if (outcome == Outcome::ok) {
        model.staged.push_back(std::move(message));
      }
      break;
    }
    case 3:
      lane.writer.publish();
      std::ranges::move(model.staged, std::back_inserter(model.published));
      model.staged.clear();
      break;
    case 4:
      if (random() % 8 == 0) {
        lane.writer.abandon();
        model.staged.clear();
      }
      break;
    case 5:
      loan(random, lane, model);
      break;
    case 6:
      lane.cursors.publish(lane.reader.position());
      break;
    default:
      if (model.published.empty()) {
        ASSERT_EQ(lane.read(), "(empty)");
      } else {
        ASSERT_EQ(lane.read(), model.published.front());
        model.published.pop_front();
      }
  }
}

TEST(LaneModel, agrees_with_a_queue) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    std::mt19937 random{seed};
    const std::size_t mtus[] = {1, 16, 300, 496, 497, 4'000, 70'000};
    Lane lane(test::geometry(mtus[seed % 7], seed % 3 == 0 ? 28'672 : 4'096));
    Model model;
    for (int i = 0; i < 4'000; ++i) {
      step(random, lane, model);
      if (testing::Test::HasFatalFailure()) {
        FAIL() << "seed " << seed << ", step " << i;
      }
    }
    EXPECT_GT(lane.writer.position().sequence, 100U);
  }
}

// With everything read and published, any message fits: no position wedges the lane.
TEST(LaneModel, never_wedges_when_drained) {
  std::mt19937 random{7};
  Lane lane(test::geometry(6'000));
  for (int i = 0; i < 20'000; ++i) {
    const std::string message = random_message(random, lane.geometry);
    ASSERT_EQ(lane.writer.write(bytes(message)), Outcome::ok) << i;
    ASSERT_EQ(lane.read(), message) << i;
    lane.cursors.publish(lane.reader.position());
    ASSERT_EQ(lane.writer.room_for(lane.geometry.mtu_bytes), Outcome::ok) << i;
  }
}

}  // namespace
}  // namespace flowfs::pool
