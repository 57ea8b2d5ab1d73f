// SPDX-License-Identifier: BSD-3-Clause
// Lanes, sleeps and slots between threads on one mapping, where ThreadSanitizer sees both ends.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <bit>
#include <cinttypes>
#include <cstring>
#include <thread>
#include <vector>

#include "../unit/pool/lane_fixture.hpp"
#include "lane_end.hpp"
#include "pool/status.hpp"

namespace flowfs::race {
namespace {

using pool::test::kFirst;
using pool::test::kStart;
using pool::test::Memory;

// Two segments and the two ends on them.
struct Flow {
  explicit Flow(const pool::Geometry& geometry)
      : one_memory(geometry.segment_bytes()),
        two_memory(geometry.segment_bytes()),
        one(geometry, one_memory.bytes(), two_memory.bytes(), kFirst, kStart, kFirst, kStart),
        two(geometry, two_memory.bytes(), one_memory.bytes(), kFirst, kStart, kFirst, kStart) {}
  Memory one_memory;
  Memory two_memory;
  LaneEnd one;
  LaneEnd two;
};

void stream(std::size_t mtu, unsigned most_in_batch) {
  Flow flow(pool::test::geometry(mtu));
  std::atomic<bool> stop = false;
  std::uint64_t sent = 0;
  bool sender_ok = true;
  std::thread sender([&] {
    std::mt19937 random{1};
    Numbered message(mtu);
    while (sender_ok && !stop.load(std::memory_order_relaxed)) {
      const unsigned batch = 1 + static_cast<unsigned>(random()) % most_in_batch;
      for (unsigned i = 0; i < batch && sender_ok; ++i) {
        sender_ok = flow.one.send(message.make(sent++));
      }
      flow.one.publish();
    }
    sender_ok = sender_ok && flow.one.send(message.make(UINT64_MAX));
    flow.one.publish();
  });
  Numbered message(mtu);
  const Instant end = Clock::now() + hammer_time();
  std::uint64_t received = 0;
  bool last = false;
  bool good = true;
  while (good && !last) {
    good = flow.two.receive([&](std::span<const std::byte> payload) {
      last = stop.load(std::memory_order_relaxed) && message.matches(UINT64_MAX, payload);
      good = last || message.matches(received, payload);
      received += last ? 0 : 1;
    }) && good;
    if (received % 1'024 == 0 && Clock::now() >= end) {
      stop.store(true, std::memory_order_relaxed);
    }
  }
  stop.store(true, std::memory_order_relaxed);
  EXPECT_TRUE(good) << "message " << received << " came wrong, or a wake-up was lost";
  sender.join();
  EXPECT_TRUE(sender_ok);
  EXPECT_EQ(received, sent);
  EXPECT_GT(received, 10'000U);
  testing::Test::RecordProperty("messages", std::to_string(received));
  testing::Test::RecordProperty("sleeps", std::to_string(flow.one.sleeps() + flow.two.sleeps()));
  std::printf("  %" PRIu64 " messages, %" PRIu64 " sleeps\n", received,
              flow.one.sleeps() + flow.two.sleeps());
}

TEST(LaneRace, streams_short_messages_in_order) { stream(496, 1); }

TEST(LaneRace, streams_batches_in_order) { stream(496, 9); }

TEST(LaneRace, streams_long_messages_in_order) { stream(20'000, 3); }

constexpr std::uint64_t kLast = UINT64_MAX;

// Each message is waited for: as many sleeps and wake-ups as two threads can make.
TEST(LaneRace, loses_no_wake_up_in_a_round_trip) {
  Flow flow(pool::test::geometry(496));
  bool echo_ok = true;
  std::thread echo([&] {
    std::array<std::byte, 8> answer{};
    while (echo_ok && std::bit_cast<std::uint64_t>(answer) != kLast) {
      echo_ok = flow.two.receive([&](std::span<const std::byte> payload) {
        std::memcpy(answer.data(), payload.data(), answer.size());
      }) && flow.two.send(answer);
      flow.two.publish();
    }
  });
  std::mt19937 random{3};
  const Instant end = Clock::now() + hammer_time();
  std::uint64_t trips = 0;
  bool good = true;
  bool last = false;
  while (good && !last) {
    last = trips % 64 == 0 && Clock::now() >= end;
    const std::uint64_t number = last ? kLast : trips;
    const auto message = std::bit_cast<std::array<std::byte, 8>>(number);
    good = flow.one.send(message);
    flow.one.publish();
    // Sometimes the answer is there first, sometimes the sleep: the window is in between.
    for (unsigned spin = static_cast<unsigned>(random()) % 256; spin > 0; --spin) {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    std::uint64_t got = 0;
    good = good && flow.one.receive([&](std::span<const std::byte> payload) {
      std::memcpy(&got, payload.data(), sizeof got);
    }) && got == number;
    ++trips;
  }
  echo.join();
  EXPECT_TRUE(good) << "round trip " << trips;
  EXPECT_TRUE(echo_ok);
  const std::uint64_t sleeps = flow.one.sleeps() + flow.two.sleeps();
  EXPECT_GT(trips, 1'000U);
  EXPECT_GT(sleeps, 1'000U);
  // No storm: a sleep is answered by one ring at most.
  EXPECT_LE(flow.one.rings() + flow.two.rings(), 2 * trips + sleeps);
  std::printf("  %" PRIu64 " round trips, %" PRIu64 " sleeps\n", trips, sleeps);
}

// Whoever is killed at any instruction of taking up a new segment leaves cursors that are about the
// one they name, or about none.
TEST(CursorRace, never_tells_one_segment_the_cursors_of_another) {
  const auto geometry = pool::test::geometry(496);
  const Memory memory(geometry.segment_bytes());
  flowfs_cursors& cursors = memory.header().cursors;
  std::atomic<bool> stop = false;
  std::thread reader([&] {
    for (std::uint64_t generation = 1; !stop.load(std::memory_order_relaxed); ++generation) {
      pool::CursorPublisher(geometry, cursors, pool::Generation{generation},
                            {.hot = generation * 16, .bulk = 0, .sequence = 0});
    }
  });
  std::uint64_t believed = 0;
  std::uint64_t wrong = 0;
  const Instant end = Clock::now() + hammer_time() / 5;
  while (Clock::now() < end) {
    const std::uint64_t before = pool::shared(cursors.generation).load();
    const std::uint64_t hot = pool::shared(cursors.hot).load();
    const std::uint64_t after = pool::shared(cursors.generation).load();
    if (before == after && before != 0) {
      ++believed;
      wrong += hot == before * 16 ? 0 : 1;
    }
  }
  stop.store(true, std::memory_order_relaxed);
  reader.join();
  EXPECT_GT(believed, 0U);
  EXPECT_EQ(wrong, 0U);
}

// The order of the daemon's stores lets a reader of another process believe what it read first.
TEST(StatusRace, never_tells_one_generation_the_end_of_another) {
  auto file = pool::StatusFile::create(1'000, 64);
  ASSERT_TRUE(file.has_value());
  auto slot = file->allocate(1);
  ASSERT_TRUE(slot.has_value());
  const flowfs_status& words = slot->words();
  slot->renew_lane(pool::Generation{1}, FLOWFS_LANE_OPEN);
  std::atomic<bool> stop = false;
  std::thread daemon([&] {
    for (std::uint64_t generation = 1; !stop.load(std::memory_order_relaxed); ++generation) {
      slot->close_lane(generation * 1'000);
      slot->renew_lane(pool::Generation{generation + 1}, generation * 1'000);
    }
  });
  std::uint64_t believed = 0;
  std::uint64_t wrong = 0;
  const Instant end = Clock::now() + hammer_time() / 5;
  while (Clock::now() < end) {
    const std::uint64_t before = pool::shared(words.peer_generation).load();
    const std::uint64_t closed_at = pool::shared(words.closed_at).load();
    const std::uint64_t after = pool::shared(words.peer_generation).load();
    if (before == after && closed_at != FLOWFS_LANE_OPEN) {
      ++believed;
      wrong += closed_at == before * 1'000 ? 0 : 1;
    }
  }
  stop.store(true, std::memory_order_relaxed);
  daemon.join();
  EXPECT_GT(believed, 0U);
  EXPECT_EQ(wrong, 0U);
}

}  // namespace
}  // namespace flowfs::race
