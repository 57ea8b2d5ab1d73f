// SPDX-License-Identifier: BSD-3-Clause
// A channel that can be mapped, with a loop and somebody who listens.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/loop.hpp"
#include "flow/channel.hpp"
#include "mapped_program.hpp"

namespace flowfs::flow::test {

inline constexpr Side kClient = Side::client;
inline constexpr Side kServer = Side::server;

class Hearing : public Listener {
 public:
  void on_mapped_peer_activity(Channel& /*channel*/) override { ++calls; }
  int calls = 0;
};

// What does not change from flow to flow.
struct World {
  World()
      : loop(Loop::create().value()),
        status{pool::StatusFile::create(1'000, 256).value(),
               pool::StatusFile::create(2'000, 256).value()} {}

  [[nodiscard]] MappedSetup setup() {
    return {
        .loop = loop.get(),
        .listener = &hearing,
        .ends = {EndIdentity{.flow = 11, .uid = 1'000, .gid = 10, .pid = 100, .status = &status[0]},
                 EndIdentity{
                     .flow = 22, .uid = 2'000, .gid = 20, .pid = 200, .status = &status[1]}},
        .hot_ring_bytes = 4'096};
  }
  pool::StatusFile& status_of(Side side) { return status[static_cast<std::size_t>(side)]; }

  std::unique_ptr<Loop> loop;
  Hearing hearing;
  pool::StatusFile status[2];
};

inline std::string read(Channel& channel, Side to) {
  const Channel::Front front = channel.front(to);
  switch (front.outcome) {
    case ReadOutcome::ok:
      break;
    case ReadOutcome::empty:
      return "(empty)";
    case ReadOutcome::end:
      return "(end)";
    case ReadOutcome::busy:
      return "(busy)";
    case ReadOutcome::corrupt:
      return "(corrupt)";
  }
  std::string result = text(front.rest);
  channel.consume(to, front.rest.size());
  return result;
}

inline std::string write(Channel& channel, Side from, std::string_view message) {
  switch (channel.write(from, bytes(message))) {
    case WriteOutcome::ok:
      return "ok";
    case WriteOutcome::full:
      return "(full)";
    case WriteOutcome::too_long:
      return "(too long)";
    case WriteOutcome::closed:
      return "(closed)";
    case WriteOutcome::busy:
      return "(busy)";
    case WriteOutcome::corrupt:
      break;
  }
  return "(corrupt)";
}

// A channel whose ends may be mapped.
class Mapped : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(channel.make_segments(world.setup()).has_value()); }

  std::unique_ptr<Program> attach(Side side) {
    auto program = Program::attach(channel, side, world.status_of(side));
    if (!program) {
      ADD_FAILURE() << program.error().message();
      return nullptr;
    }
    return std::move(*program);
  }
  int attach_error(Side side) {
    const auto answer = channel.attach(side);
    return answer ? 0 : answer.error().error;
  }

  World world;
  Channel channel{{.mtu_bytes = 5'000, .depth_bytes = 20'000}};
};

}  // namespace flowfs::flow::test
