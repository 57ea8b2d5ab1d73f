// SPDX-License-Identifier: BSD-3-Clause
// The log of a bus between threads on one mapping: what is believed is whole, in order, and all of
// it where nothing may be lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cinttypes>
#include <cstring>
#include <thread>
#include <vector>

#include "../unit/pool/lane_fixture.hpp"
#include "lane_end.hpp"
#include "pool/bus_log.hpp"

namespace flowfs::race {
namespace {

using pool::LogReader;
using pool::LogWriter;

constexpr std::uint64_t kRing = 16 * 4096;
constexpr std::size_t kLongest = 6'000;
// Of the readers' own records, and of others.
constexpr std::uint32_t kOwn = 7;
constexpr std::uint32_t kOther = 1;

// A message says its number in every word, so that a torn one shows.
void fill(std::span<std::byte> message, std::uint64_t number) {
  for (std::size_t at = 0; at < message.size(); at += sizeof number) {
    std::memcpy(message.data() + at, &number, std::min(sizeof number, message.size() - at));
  }
}

bool is_whole(std::span<const std::byte> message, std::uint64_t number) {
  for (std::size_t at = 0; at < message.size(); at += sizeof number) {
    if (std::memcmp(message.data() + at, &number, std::min(sizeof number, message.size() - at)) !=
        0) {
      return false;
    }
  }
  return true;
}

class Reader {
 public:
  explicit Reader(std::span<const std::byte> log)
      : header_(reinterpret_cast<const flowfs_log*>(log.data())), reader_(log, 0, 0, kOwn) {}

  // Until the log says that it is over (`stop`) and is empty. False: something was wrong.
  bool run(const std::atomic<bool>& stop) {
    std::array<std::byte, kLongest> buffer{};
    LogReader::Record record;
    while (true) {
      const bool over = stop.load();  // seq_cst: before the look
      // acquire: before the look, as in Sleeper::begin.
      const std::uint32_t bell = pool::shared(header_->bell).load(std::memory_order_acquire);
      const LogReader::Outcome outcome = reader_.peek(record);
      if (outcome == LogReader::Outcome::empty) {
        position_.store(reader_.position(), std::memory_order_release);  // as below
        if (over) {
          return true;
        }
        ++sleeps_;
        if (futex_wait(pool::futex_word(header_->bell), bell, Clock::now() + kPatience) ==
            FutexOutcome::timed_out) {
          return false;
        }
        continue;
      }
      if (outcome != LogReader::Outcome::record || record.payload.size() > kLongest) {
        return false;
      }
      const std::span<std::byte> copy(buffer.data(), record.payload.size());
      if (!reader_.copy(copy)) {
        continue;
      }
      if (!is_whole(copy, record.sequence)) {
        return false;
      }
      ++read_;
      reader_.pop();
      // release: what was read is read, for the writer that gives it up (acquire).
      position_.store(reader_.position(), std::memory_order_release);
    }
  }
  [[nodiscard]] std::uint64_t position() const { return position_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t read() const { return read_; }
  [[nodiscard]] std::uint64_t lost() const { return reader_.lost(); }
  [[nodiscard]] std::uint64_t sleeps() const { return sleeps_; }

 private:
  static constexpr std::chrono::seconds kPatience{20};

  const flowfs_log* header_;
  LogReader reader_;
  std::atomic<std::uint64_t> position_ = 0;
  std::uint64_t read_ = 0;
  std::uint64_t sleeps_ = 0;
};

// Of `own_of` messages each, all but one are the readers' own.
void hammer(bool lossless, std::size_t longest, std::uint32_t own_of = 1) {
  const pool::test::Memory memory(FLOWFS_LOG_HEADER_BYTES + kRing);
  LogWriter writer(memory.bytes());
  std::array<Reader, 3> readers{Reader(memory.bytes()), Reader(memory.bytes()),
                                Reader(memory.bytes())};
  std::atomic<bool> stop = false;
  std::array<bool, 3> good{};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < readers.size(); ++i) {
    threads.emplace_back([&, i] { good[i] = readers[i].run(stop); });
  }
  std::mt19937 random{9};
  std::vector<std::byte> message(longest);
  std::uint64_t others = 0;
  const Instant end = Clock::now() + hammer_time();
  while (writer.sequence() % 64 != 0 || Clock::now() < end) {
    const std::span<std::byte> part(message.data(), 1 + random() % longest);
    fill(part, writer.sequence());
    while (lossless && !writer.has_room(part.size())) {
      writer.publish();
      writer.ring();
      std::this_thread::yield();
      std::uint64_t slowest = UINT64_MAX;
      for (const Reader& reader : readers) {
        slowest = std::min(slowest, reader.position());  // each asked once: they read on meanwhile
      }
      writer.give_up_to(slowest);
    }
    writer.make_room(part.size());
    const bool own = random() % own_of != 0;
    writer.append(part, own ? kOwn : kOther);
    others += own ? 0 : 1;
    if (random() % 4 != 0) {
      writer.publish();
      writer.ring();
    }
  }
  writer.publish();
  stop.store(true);
  writer.ring();
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (std::size_t i = 0; i < readers.size(); ++i) {
    EXPECT_TRUE(good[i]) << "a message came wrong, or a wake-up was lost";
    if (own_of == 1 || lossless) {
      EXPECT_EQ(readers[i].read() + readers[i].lost(), others);
    }
    EXPECT_TRUE(!lossless || readers[i].lost() == 0);
    EXPECT_GT(readers[i].read(), 100U);
    std::printf("  %" PRIu64 " read, %" PRIu64 " lost, %" PRIu64 " sleeps\n", readers[i].read(),
                readers[i].lost(), readers[i].sleeps());
  }
}

TEST(BusLogRace, believes_no_torn_message_and_accounts_for_all) { hammer(false, 500); }

TEST(BusLogRace, believes_no_torn_long_message) { hammer(false, kLongest); }

TEST(BusLogRace, loses_nothing_where_the_writer_waits) { hammer(true, 500); }

TEST(BusLogRace, finds_every_message_among_its_own) { hammer(true, 500, 16); }

}  // namespace
}  // namespace flowfs::race
