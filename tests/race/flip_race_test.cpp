// SPDX-License-Identifier: BSD-3-Clause
// A record whose every word another thread changes while it is being read: whatever the reader
// believes is one value that was checked, so nothing outside the segment is ever named.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <initializer_list>
#include <random>
#include <thread>

#include "lane_end.hpp"

namespace flowfs::race {
namespace {

using pool::LaneReader;
using pool::shared;

// A segment with nothing before or behind it: one byte too far is a fault.
class FencedSegment {
 public:
  static constexpr std::size_t kFence = 4'096;

  explicit FencedSegment(std::size_t bytes)
      : bytes_(bytes),
        base_(::mmap(nullptr, bytes + 2 * kFence, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (base_ == MAP_FAILED || ::mprotect(memory().data(), bytes_, PROT_READ | PROT_WRITE) != 0) {
      std::abort();
    }
  }
  ~FencedSegment() { ::munmap(base_, bytes_ + 2 * kFence); }
  FencedSegment(const FencedSegment&) = delete;
  FencedSegment& operator=(const FencedSegment&) = delete;

  [[nodiscard]] std::span<std::byte> memory() const {
    return {static_cast<std::byte*>(base_) + kFence, bytes_};
  }

 private:
  std::size_t bytes_;
  void* base_;
};

// What a liar writes: mostly what is nearly right, since nonsense is refused at the first look.
class Liar {
 public:
  Liar(const pool::Geometry& geometry, std::span<std::byte> segment)
      : geometry_(geometry),
        record_(reinterpret_cast<flowfs_record*>(segment.data() + geometry.hot_offset())) {}

  void lie() {
    // relaxed, all of them: what a liar does is not in order.
    const auto order = std::memory_order_relaxed;
    auto* const bulk = reinterpret_cast<flowfs_bulk*>(record_ + 1);
    switch (random_() % 8) {
      case 0:
        shared(record_->commit)
            .store(static_cast<std::uint32_t>(one_of({1 + 16, 1 + 24, 1 + 100, 0xffffffff})),
                   order);
        break;
      case 1:
        shared(record_->flags).store(static_cast<std::uint16_t>(one_of({0, 1, 2, 4})), order);
        break;
      case 2:
        shared(record_->sequence).store(one_of({0, 0, 1}), order);
        break;
      case 3:
      case 4:
        shared(bulk->position)
            .store(one_of({0, 64, geometry_.bulk_bytes - 64, geometry_.bulk_bytes, ~63ULL, 7}),
                   order);
        break;
      default:
        shared(bulk->length)
            .store(static_cast<std::uint32_t>(
                       one_of({geometry_.inline_bytes + 1ULL, geometry_.mtu_bytes,
                               geometry_.mtu_bytes + 1ULL, 0, 0xffffffff})),
                   order);
    }
  }

 private:
  std::uint64_t one_of(std::initializer_list<std::uint64_t> values) {
    return values.begin()[random_() % values.size()];
  }

  pool::Geometry geometry_;
  flowfs_record* record_;
  std::minstd_rand random_{4'711};
};

TEST(Flip, a_reader_names_nothing_outside_the_segment) {
  const pool::Geometry geometry = *pool::Geometry::plan(5'000, 10'000, 4'096);
  const FencedSegment segment(geometry.segment_bytes());
  std::atomic<bool> stop = false;
  std::thread liar([&] {
    Liar of_lies(geometry, segment.memory());
    while (!stop.load(std::memory_order_relaxed)) {  // relaxed: nothing is handed over with it
      of_lies.lie();
    }
  });

  std::uint64_t believed = 0;
  std::uint64_t refused = 0;
  const Instant end = Clock::now() + hammer_time();
  for (unsigned round = 0; round % 1'024 != 0 || Clock::now() < end; ++round) {
    LaneReader reader(geometry, segment.memory(), {.hot = 0, .bulk = 0, .sequence = 0});
    LaneReader::Record record;
    if (reader.peek(record) != LaneReader::Outcome::record) {
      ++refused;
      continue;
    }
    ++believed;
    if (record.block) {
      ASSERT_LE(record.block->length, geometry.mtu_bytes);
      continue;
    }
    ASSERT_FALSE(record.payload.empty());
    ASSERT_LE(record.payload.size(), geometry.mtu_bytes);
    ASSERT_GE(record.payload.data(), segment.memory().data() + geometry.hot_offset());
    ASSERT_LE(record.payload.data() + record.payload.size(),
              segment.memory().data() + geometry.segment_bytes());
    reader.pop();
    ASSERT_LE(reader.position().bulk, geometry.bulk_bytes);
  }
  stop.store(true, std::memory_order_relaxed);
  liar.join();
  EXPECT_GT(believed, 1'000U) << "the lies must be good enough to be believed";
  EXPECT_GT(refused, 1'000U);
}

}  // namespace
}  // namespace flowfs::race
