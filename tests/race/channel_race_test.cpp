// SPDX-License-Identifier: BSD-3-Clause
// A mapped program in one thread, the daemon's end of the flow in another: the loop sleeps on the
// program's bell, the program on the daemon's.
#include <gtest/gtest.h>

#include <atomic>
#include <cinttypes>
#include <thread>
#include <vector>

#include "../unit/flow/mapped_fixture.hpp"
#include "lane_end.hpp"

namespace flowfs::race {
namespace {

using flow::Channel;
using flow::ReadOutcome;
using flow::WriteOutcome;
using flow::test::kClient;
using flow::test::kServer;

// What fs does for a `cat` and an `echo`: answers everything that comes.
class Echo : public flow::Listener {
 public:
  void on_mapped_peer_activity(Channel& channel) override {
    ++woken;
    serve(channel);
  }
  void serve(Channel& channel) {
    while (true) {
      const Channel::Front front = channel.front(kClient);
      if (front.outcome == ReadOutcome::empty) {
        channel.wait_for(kClient, {.data = true});
        return;
      }
      if (front.outcome != ReadOutcome::ok) {
        ended = true;
        corrupt = front.outcome == ReadOutcome::corrupt;
        return;
      }
      const WriteOutcome outcome = channel.write(kClient, front.rest);
      if (outcome == WriteOutcome::full) {
        channel.wait_for(kClient, {.data = false, .room_bytes = front.rest.size()});
        return;
      }
      corrupt = corrupt || outcome != WriteOutcome::ok;
      channel.consume(kClient, front.rest.size());
      ++echoed;
    }
  }
  std::uint64_t woken = 0;
  std::uint64_t echoed = 0;
  bool ended = false;
  bool corrupt = false;
};

// Keeps up to `window` messages under way, so that both directions fill and run dry.
struct Client {
  static std::uint64_t run(LaneEnd& end, unsigned window, std::size_t longest, bool& good) {
    Numbered message(longest);
    std::mt19937 random{5};
    const Instant stop = Clock::now() + hammer_time();
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    while (good && (Clock::now() < stop || received < sent)) {
      const unsigned more = 1 + static_cast<unsigned>(random()) % window;
      for (unsigned i = 0; good && i < more && sent - received < window && Clock::now() < stop;
           ++i) {
        // Waiting for room with both rings full would wait for the echo, which waits for us.
        if (!end.try_send(message.make(sent))) {
          break;
        }
        ++sent;
      }
      end.publish();
      while (good && received < sent && sent - received > random() % window) {
        good = end.receive([&](std::span<const std::byte> payload) {
          good = message.matches(received++, payload);
        }) && good;
      }
    }
    return received;
  }
};

void relay(unsigned window, std::size_t mtu) {
  flow::test::World world;
  Echo echo;
  Channel channel({.mtu_bytes = mtu, .depth_bytes = mtu});
  flow::MappedSetup setup = world.setup();
  setup.listener = &echo;
  ASSERT_TRUE(channel.make_segments(setup).has_value());
  const auto answer = channel.attach(kServer);
  ASSERT_TRUE(answer.has_value());
  const auto geometry = pool::Geometry::from(*answer).value();
  const auto map = [&](flow::Side side, Mapping::Access access) {
    const auto view = channel.segment(side).value();
    const Fd fd(::dup(view.fd));
    return Mapping::map(fd, view.bytes, access).value();
  };
  const Mapping tx = map(kServer, Mapping::Access::read_write);
  const Mapping rx = map(kClient, Mapping::Access::read_only);
  LaneEnd end(geometry, tx.bytes(), rx.bytes(), pool::Generation{answer->generation}, answer->write,
              pool::Generation{answer->peer_generation}, answer->read);

  std::uint64_t received = 0;
  bool good = true;
  std::thread client([&] {
    received = Client::run(end, window, mtu, good);
    flowfs_segment& header = pool::segment_header(tx.bytes());
    pool::shared(header.shutdown).fetch_or(FLOWFS_SHUT_SEND);
    pool::Bell::ring(header);
  });
  echo.serve(channel);
  const Instant patience = later(Clock::now(), hammer_time() + 2 * LaneEnd::kPatience);
  while (!echo.ended && Clock::now() < patience) {
    world.loop->run_once(Micros{1'000'000});
  }
  client.join();
  EXPECT_TRUE(good) << "message " << received << " came wrong, or a wake-up was lost";
  EXPECT_TRUE(echo.ended);
  EXPECT_FALSE(echo.corrupt);
  EXPECT_EQ(echo.echoed, received);
  EXPECT_GT(received, 1'000U);
  std::printf("  %" PRIu64 " echoed, daemon woken %" PRIu64 " times, program slept %" PRIu64
              " times\n",
              received, echo.woken, end.sleeps());
}

// A peer that closes, seen from a mapped end in another thread: once nothing comes any more,
// nothing is taken any more.
void watch_close(bool mapped_peer) {
  const Instant stop = later(Clock::now(), hammer_time() / 4);
  unsigned rounds = 0;
  for (; Clock::now() < stop && !testing::Test::HasFailure(); ++rounds) {
    flow::test::World world;
    Channel channel({.mtu_bytes = 496, .depth_bytes = 496});
    ASSERT_TRUE(channel.make_segments(world.setup()).has_value());
    const auto program = flow::test::Program::attach(channel, kServer, world.status_of(kServer));
    ASSERT_TRUE(program.has_value());
    if (mapped_peer) {
      ASSERT_TRUE(flow::test::Program::attach(channel, kClient, world.status_of(kClient)));
    }
    const flowfs_status& slot = (*program)->slot();
    std::atomic<bool> watching{false};
    std::uint32_t flags = 0;
    std::thread watcher([&] {
      watching.store(true, std::memory_order_relaxed);
      // acquire, pairs with StatusSlot::close_lane, as a reader that finds its end.
      while (pool::shared(slot.closed_at).load(std::memory_order_acquire) == FLOWFS_LANE_OPEN) {
      }
      flags = pool::shared(slot.flags).load(std::memory_order_acquire);
    });
    while (!watching.load(std::memory_order_relaxed)) {
    }
    channel.close(kClient);
    watcher.join();
    EXPECT_NE(flags & FLOWFS_STATUS_PEER_DEAF, 0U) << "round " << rounds;
  }
  EXPECT_GT(rounds, 10U);
}

TEST(ChannelRace, a_file_end_that_closes_is_deaf_before_it_is_mute) { watch_close(false); }

TEST(ChannelRace, a_mapped_end_that_closes_is_deaf_before_it_is_mute) { watch_close(true); }

TEST(ChannelRace, echoes_one_message_at_a_time) { relay(1, 496); }

TEST(ChannelRace, echoes_a_window_that_fills_the_rings) { relay(64, 496); }

TEST(ChannelRace, echoes_long_messages) { relay(4, 20'000); }

}  // namespace
}  // namespace flowfs::race
