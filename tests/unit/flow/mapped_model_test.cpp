// SPDX-License-Identifier: BSD-3-Clause
// A channel against two queues of strings, while both ends change between file and mapped mode at
// random: every message arrives whole, once and in order.
#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "mapped_fixture.hpp"

namespace flowfs::flow {
namespace {

using test::Program;

constexpr Side kSides[] = {Side::client, Side::server};

class Model {
 public:
  Model(test::World& world, unsigned seed)
      : world_(&world), random_(seed), channel_({.mtu_bytes = 3'000, .depth_bytes = 9'000}) {
    EXPECT_TRUE(channel_.make_segments(world.setup()).has_value());
  }

  void step() {
    const Side side = kSides[random_() % 2];
    const unsigned choice = random_() % 16;
    if (choice < 7) {
      send(side);
    } else if (choice < 14) {
      receive(side);
    } else if (program(side)) {
      detach(side);
    } else {
      attach(side);
    }
  }

  void finish() {
    const Side side = kSides[random_() % 2];
    if (program(side) && random_() % 2 == 0) {
      detach(side);
    } else if (program(side)) {
      program(side)->publish();
    }
    channel_.close(side);
    while (!queue(side).empty() && !testing::Test::HasFatalFailure()) {
      receive(other(side));
    }
    ASSERT_EQ(take(other(side)), "(end)");
    channel_.close(other(side));
  }

  [[nodiscard]] int attaches() const { return attaches_; }
  [[nodiscard]] std::size_t delivered() const { return delivered_; }

 private:
  std::unique_ptr<Program>& program(Side side) { return programs_[static_cast<std::size_t>(side)]; }
  std::deque<std::string>& queue(Side from) { return queues_[static_cast<std::size_t>(from)]; }
  std::size_t& consumed(Side from) { return consumed_[static_cast<std::size_t>(from)]; }

  void send(Side side) {
    const std::size_t most = random_() % 3 == 0 ? 3'000 : 300;
    const std::string message(1 + random_() % most, static_cast<char>('a' + random_() % 26));
    const std::string outcome =
        program(side) ? program(side)->send(message) : test::write(channel_, side, message);
    ASSERT_TRUE(outcome == "ok" || outcome == "(full)") << outcome;
    if (outcome == "ok") {
      queue(side).push_back(message);
    } else {
      ASSERT_FALSE(queue(side).empty()) << "full of nothing";
    }
  }

  std::string take(Side to) {
    return program(to) ? program(to)->receive() : test::read(channel_, to);
  }

  void receive(Side to) {
    const Side from = other(to);
    if (!program(to) && !queue(from).empty() && random_() % 4 == 0) {
      read_part(to);
      return;
    }
    std::string message = take(to);
    // A backlog moves into the lane when the loop has heard of the room.
    for (int i = 0; message == "(empty)" && !queue(from).empty() && i < 100; ++i) {
      world_->loop->run_once(Micros{10'000});
      message = take(to);
    }
    if (queue(from).empty()) {
      ASSERT_EQ(message, "(empty)");
      return;
    }
    ASSERT_EQ(message, queue(from).front().substr(consumed(from)));
    queue(from).pop_front();
    consumed(from) = 0;
    ++delivered_;
  }

  void read_part(Side to) {
    const Side from = other(to);
    const Channel::Front front = channel_.front(to);
    ASSERT_EQ(front.outcome, ReadOutcome::ok);
    ASSERT_EQ(front.begun, consumed(from) != 0);
    const std::string rest = queue(from).front().substr(consumed(from));
    ASSERT_EQ(test::text(front.rest), rest);
    if (rest.size() > 1) {
      const std::size_t part = 1 + random_() % (rest.size() - 1);
      channel_.consume(to, part);
      consumed(from) += part;
    }
  }

  void attach(Side side) {
    ASSERT_TRUE(channel_.make_segments(world_->setup()).has_value());
    auto attached = Program::attach(channel_, side, world_->status_of(side));
    if (!attached) {
      ASSERT_EQ(attached.error().error, EAGAIN);
      return;
    }
    ++attaches_;
    program(side) = std::move(*attached);
    consumed(other(side)) = 0;  // delivered whole again
  }

  void detach(Side side) {
    program(side)->publish();
    ASSERT_TRUE(channel_.detach(side).has_value());
    ASSERT_FALSE(channel_.is_corrupt());
    program(side).reset();
  }

  test::World* world_;
  std::mt19937 random_;
  Channel channel_;
  std::unique_ptr<Program> programs_[2];
  std::deque<std::string> queues_[2];
  std::size_t consumed_[2] = {0, 0};
  int attaches_ = 0;
  std::size_t delivered_ = 0;
};

TEST(MappedModel, agrees_with_two_queues_whoever_is_mapped) {
  test::World world;
  int attaches = 0;
  std::size_t delivered = 0;
  for (unsigned seed = 1; seed <= 150; ++seed) {
    Model model(world, seed);
    for (int i = 0; i < 400; ++i) {
      model.step();
      ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed << ", step " << i;
    }
    model.finish();
    ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed << ", at the end";
    attaches += model.attaches();
    delivered += model.delivered();
  }
  EXPECT_GT(attaches, 1'000);
  EXPECT_GT(delivered, 10'000U);
  EXPECT_EQ(world.status[0].in_use(), 0U);
}

}  // namespace
}  // namespace flowfs::flow
