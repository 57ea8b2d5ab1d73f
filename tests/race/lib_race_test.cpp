// SPDX-License-Identifier: BSD-3-Clause
// The library's two directions between threads on one mapping, where ThreadSanitizer sees both
// ends: every way to send against every way to receive, and the sleeps between them.
#include <gtest/gtest.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "../unit/lib/mapped_ends.hpp"
#include "base/futex_any.hpp"
#include "lane_end.hpp"

namespace flowfs::race {
namespace {

using lib::MappedReceiver;
using lib::MappedSender;
using lib::Pieces;
using lib::SpinPolicy;
using lib::View;
using lib::Wait;
using lib::test::MappedFlow;

constexpr std::size_t kMtu = 20'000;
constexpr std::size_t kBatch = 5;
constexpr std::uint64_t kLast = UINT64_MAX;

Wait patience() { return Wait::at_most(LaneEnd::kPatience); }

std::uint64_t number_of(std::span<const std::byte> message) {
  std::uint64_t number = 0;
  std::memcpy(&number, message.data(), sizeof number);
  return number;
}

// Sends numbered messages, each in a way of its own.
class AnySender {
 public:
  AnySender(MappedSender& sender, unsigned seed) : sender_(&sender), random_(seed) {}

  // False: a wake-up was lost, or something failed.
  bool send_some() {
    switch (random_() % 6) {
      case 0:
        return sender_->send(message_.make(next_++), patience()).has_value();
      case 1:
        return send_in_pieces();
      case 2:
        return send_batch();
      case 3:
        return send_in_place(0);
      case 4:
        return send_in_place(1);  // a block, where there is one
      default:
        return cancel();
    }
  }
  bool send_last() { return sender_->send(message_.make(kLast), patience()).has_value(); }
  [[nodiscard]] std::uint64_t sent() const { return next_; }

 private:
  static iovec piece(std::span<std::byte> bytes) {
    return {.iov_base = bytes.data(), .iov_len = bytes.size()};
  }
  std::vector<std::byte> copy_of(std::uint64_t number) {
    const auto message = message_.make(number);
    return {message.begin(), message.end()};
  }
  bool send_in_pieces() {
    std::vector<std::byte> message = copy_of(next_++);
    const std::span<std::byte> whole(message);
    const std::size_t half = whole.size() / 2;
    const std::array<iovec, 2> pieces = {piece(whole.first(half)), piece(whole.subspan(half))};
    return sender_->send(Pieces(pieces), patience()).has_value();
  }
  bool send_batch() {
    std::array<std::vector<std::byte>, kBatch> kept;
    std::array<iovec, kBatch> batch{};
    for (std::size_t i = 0; i < kBatch; ++i) {
      kept[i] = copy_of(next_ + i);
      batch[i] = piece(kept[i]);
    }
    const auto sent = sender_->send_many(Pieces(batch), patience());
    next_ += sent.value_or(0);
    return sent.has_value();
  }
  bool send_in_place(std::size_t block_least) {
    const auto message = message_.make(next_++);
    const auto space = sender_->loan(kMtu, block_least, patience());
    if (!space) {
      return false;
    }
    std::memcpy(space->bytes.data(), message.data(), message.size());
    return sender_->commit(space->id, message.size(), patience()).has_value();
  }
  bool cancel() {
    const auto space = sender_->loan(1 + random_() % kMtu, random_() % 2, patience());
    if (!space) {
      return false;
    }
    std::memset(space->bytes.data(), 0xff, space->bytes.size());
    return sender_->cancel(space->id).has_value();
  }

  MappedSender* sender_;
  std::mt19937 random_;
  Numbered message_{kMtu};
  std::uint64_t next_ = 0;
};

// Receives them, each in a way of its own, and looks at each before it gives it back.
class AnyReceiver {
 public:
  AnyReceiver(MappedReceiver& receiver, unsigned seed)
      : receiver_(&receiver), random_(seed), buffers_(kBatch, std::vector<std::byte>(kMtu)) {}

  // False: a wake-up was lost, or a message was wrong.
  bool receive_until_last() {
    while (!last_) {
      if (!receive_some()) {
        return false;
      }
    }
    while (!borrowed_.empty()) {
      if (!release()) {
        return false;
      }
    }
    return true;
  }
  [[nodiscard]] std::uint64_t received() const { return next_; }

 private:
  // Whoever holds messages of the lane must not wait for more: there may be no room for them.
  [[nodiscard]] Wait wait() const { return borrowed_.empty() ? patience() : lib::kAtOnce; }
  template <typename T>
  bool is_held_up(const Result<T>& result) {
    return !result && result.error().error == EAGAIN && !borrowed_.empty();
  }
  bool receive_some() {
    switch (random_() % 4) {
      case 0:
        return receive_batch();
      case 1:
        return borrowed_.empty() || release();
      case 2:
        return borrow();
      default:
        return receive_one();
    }
  }
  bool check(std::span<const std::byte> message) {
    last_ = number_of(message) == kLast;
    return last_ || expected_.matches(next_++, message);
  }
  bool receive_one() {
    const iovec piece{.iov_base = buffers_[0].data(), .iov_len = kMtu};
    const auto got = receiver_->receive(Pieces(&piece, 1), wait());
    return is_held_up(got) ? release() : got && check(std::span(buffers_[0]).first(*got));
  }
  bool receive_batch() {
    std::array<iovec, kBatch> batch{};
    for (std::size_t i = 0; i < kBatch; ++i) {
      batch[i] = {.iov_base = buffers_[i].data(), .iov_len = kMtu};
    }
    const auto got = receiver_->receive_many(batch, wait());
    if (is_held_up(got)) {
      return release();
    }
    for (std::size_t i = 0; got && i < *got; ++i) {
      if (!check(std::span(buffers_[i]).first(batch[i].iov_len))) {
        return false;
      }
    }
    return got && *got > 0;
  }
  bool borrow() {
    const auto view = receiver_->borrow(wait());
    if (is_held_up(view)) {
      return release();
    }
    if (!view || view->bytes.empty() || !check(view->bytes)) {
      return false;
    }
    borrowed_.push_back({.view = *view, .number = last_ ? kLast : next_ - 1});
    return true;
  }
  // Still what it was when it was borrowed.
  bool release() {
    const std::size_t which = random_() % borrowed_.size();
    std::swap(borrowed_[which], borrowed_.back());
    const Held held = borrowed_.back();
    borrowed_.pop_back();
    return (held.number == kLast || expected_.matches(held.number, held.view.bytes)) &&
           receiver_->release(held.view.id).has_value();
  }

  struct Held {
    View view;
    std::uint64_t number = 0;
  };
  MappedReceiver* receiver_;
  std::mt19937 random_;
  Numbered expected_{kMtu};
  std::vector<std::vector<std::byte>> buffers_;
  std::vector<Held> borrowed_;
  std::uint64_t next_ = 0;
  bool last_ = false;
};

struct Direction {
  bool sent = false;
  bool received = false;
  std::uint64_t count = 0;
  std::uint64_t got = 0;
};

void run(Direction& direction, MappedSender& from, MappedReceiver& to, std::thread& sender,
         std::thread& receiver) {
  sender = std::thread([&direction, &from] {
    AnySender any(from, 1);
    const Instant end = Clock::now() + hammer_time();
    direction.sent = true;
    while (direction.sent && Clock::now() < end) {
      direction.sent = any.send_some();
    }
    direction.sent = direction.sent && any.send_last();
    direction.count = any.sent();
  });
  receiver = std::thread([&direction, &to] {
    AnyReceiver any(to, 2);
    direction.received = any.receive_until_last();
    direction.got = any.received();
  });
}

// relaxed, as the ends tell them: figures that order nothing.
std::uint64_t waits(MappedFlow& flow) {
  std::uint64_t total = 0;
  for (const std::size_t side : {0U, 1U}) {
    const flowfs_segment& told = flow.segment(side);
    total += pool::shared(told.sending.waits).load(std::memory_order_relaxed) +
             pool::shared(told.receiving.waits).load(std::memory_order_relaxed);
  }
  return total;
}

// Both directions at once, so that the two threads of an end share it.
void hammer(bool pool, SpinPolicy policy) {
  MappedFlow flow(kMtu, policy);
  flow.share_pool(pool);
  std::array<Direction, 2> directions;
  std::array<std::thread, 4> threads;
  run(directions[0], flow.one().sender, flow.two().receiver, threads[0], threads[1]);
  run(directions[1], flow.two().sender, flow.one().receiver, threads[2], threads[3]);
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const Direction& direction : directions) {
    EXPECT_TRUE(direction.sent) << "after " << direction.count;
    EXPECT_TRUE(direction.received) << "after " << direction.got;
    EXPECT_EQ(direction.count, direction.got);
    EXPECT_GT(direction.got, 1'000U);
  }
  for (const unsigned class_index : {0U, 1U}) {
    const auto blocks = flow.pool().keeper.census(class_index);
    EXPECT_EQ(blocks.in_flight, 0U);
    EXPECT_LE(blocks.held, flow.pool().memory.geometry().classes()[class_index].blocks / 32)
        << "more than a cache holds";
  }
  std::printf("  %" PRIu64 " messages, %" PRIu64 " sleeps\n", directions[0].got + directions[1].got,
              waits(flow));
}

TEST(LibRace, sends_and_receives_in_every_way) { hammer(false, SpinPolicy::adaptive); }

TEST(LibRace, hands_blocks_over_between_every_way) { hammer(true, SpinPolicy::never); }

// Each block goes round both ends until its turns are over.
TEST(LibRace, forwards_blocks_round_a_flow) {
  MappedFlow flow(kMtu, SpinPolicy::adaptive);
  flow.share_pool(true);
  bool echo_good = true;
  std::thread echo([&] {
    bool last = false;
    while (echo_good && !last) {
      const auto view = flow.two().receiver.borrow(patience());
      echo_good = view && !view->bytes.empty();
      last = echo_good && number_of(view->bytes) == kLast;
      auto taken = echo_good ? flow.two().receiver.take_block(view->id) : std::nullopt;
      echo_good = taken && flow.two().sender.send_block(*taken, patience()).value_or(false);
    }
  });
  Numbered message(kMtu);
  bool good = true;
  std::uint64_t rounds = 0;
  const Instant end = Clock::now() + hammer_time();
  bool last = false;
  while (good && !last) {
    last = Clock::now() >= end;
    const std::uint64_t number = last ? kLast : rounds;
    const auto bytes = message.make(number);
    const auto space = flow.one().sender.loan(bytes.size(), 1, patience());
    good = space.has_value();
    if (good) {
      std::memcpy(space->bytes.data(), bytes.data(), bytes.size());
      good = flow.one().sender.commit(space->id, bytes.size(), patience()).has_value();
    }
    const auto back = flow.one().receiver.borrow(patience());
    good = good && back && message.matches(number, back->bytes) &&
           flow.one().receiver.release(back->id).has_value();
    ++rounds;
  }
  echo.join();
  EXPECT_TRUE(good) << "round " << rounds;
  EXPECT_TRUE(echo_good);
  EXPECT_GT(rounds, 1'000U);
  EXPECT_EQ(flow.segment(0).sending.copies + flow.segment(1).sending.copies, 0U);
}

// Long enough for a rare loss where that was asked for; a lost wake-up is a failure, not a hang.
std::uint64_t sleeps_wanted() {
  const char* text = std::getenv("FLOWFS_LONG");  // NOLINT(concurrency-mt-unsafe)
  return text != nullptr && std::string_view(text) == "1" ? 10'000'000 : 100'000;
}

TEST(LibRace, loses_no_wake_up_in_many_sleeps) {
  MappedFlow flow(496, SpinPolicy::never);
  bool echo_good = true;
  std::thread echo([&] {
    std::uint64_t number = 0;
    const iovec piece{.iov_base = &number, .iov_len = sizeof number};
    while (echo_good && number != kLast) {
      echo_good = flow.two().receiver.receive(Pieces(&piece, 1), patience()) &&
                  flow.two().sender.send(Pieces(&piece, 1), patience());
    }
  });
  std::mt19937 random{3};
  const std::uint64_t wanted = sleeps_wanted();
  std::uint64_t trips = 0;
  std::uint64_t sleeps = 0;
  bool good = true;
  bool last = false;
  while (good && !last) {
    if (trips % 1'024 == 0) {
      sleeps = waits(flow);
    }
    last = sleeps >= wanted;
    std::uint64_t number = last ? kLast : trips;
    const iovec piece{.iov_base = &number, .iov_len = sizeof number};
    good = flow.one().sender.send(Pieces(&piece, 1), patience()).has_value();
    // Sometimes the answer is there first, sometimes the sleep: the window is in between.
    for (unsigned spin = static_cast<unsigned>(random()) % 256; spin > 0; --spin) {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    const std::uint64_t asked = number;
    good = good && flow.one().receiver.receive(Pieces(&piece, 1), patience()) && number == asked;
    ++trips;
  }
  echo.join();
  EXPECT_TRUE(good) << "round trip " << trips;
  EXPECT_TRUE(echo_good);
  std::printf("  %" PRIu64 " round trips, %" PRIu64 " sleeps\n", trips, waits(flow));
}

// A thread that waits for two flows by their doorbells, as a set does.
TEST(LibRace, hears_every_doorbell) {
  const FutexWord zero{0};
  const FutexExpectation other{.word = &zero, .value = 1};
  if (futex_wait_any({&other, 1}) == FutexAnyOutcome::unsupported) {
    GTEST_SKIP() << "this kernel has no futex_waitv";
  }
  std::array<std::unique_ptr<MappedFlow>, 2> flows;
  std::array<std::thread, 2> senders;
  std::array<bool, 2> sent{};
  for (std::size_t i = 0; i < 2; ++i) {
    flows[i] = std::make_unique<MappedFlow>(496);
    senders[i] = std::thread([&, i] {
      std::mt19937 random{static_cast<unsigned>(i)};
      const Instant end = Clock::now() + hammer_time();
      std::uint64_t number = 0;
      const iovec piece{.iov_base = &number, .iov_len = sizeof number};
      sent[i] = true;
      while (sent[i] && number != kLast) {
        number = Clock::now() >= end ? kLast : number + 1;
        sent[i] = flows[i]->one().sender.send(Pieces(&piece, 1), patience()).has_value();
        for (unsigned spin = static_cast<unsigned>(random()) % 4'096; spin > 0; --spin) {
          std::atomic_signal_fence(std::memory_order_seq_cst);
        }
      }
    });
  }
  std::array<std::uint64_t, 2> next = {1, 1};
  std::uint64_t sleeps = 0;
  bool good = true;
  while (good && (next[0] != kLast || next[1] != kLast)) {
    std::vector<lib::Doorbell> bells;
    std::vector<FutexExpectation> words;
    for (std::size_t i = 0; i < 2; ++i) {
      std::uint64_t number = 0;
      const iovec piece{.iov_base = &number, .iov_len = sizeof number};
      while (good && flows[i]->two().receiver.receive(Pieces(&piece, 1), lib::kAtOnce)) {
        good = number == kLast || number == next[i];
        next[i] = number == kLast ? kLast : number + 1;
      }
      if (auto bell = flows[i]->two().receiver.arm()) {
        words.push_back({.word = bell->word, .value = bell->value});
        bells.push_back(std::move(*bell));
      }
    }
    if (words.size() == 2 && (next[0] != kLast || next[1] != kLast)) {
      ++sleeps;
      good = futex_wait_any(words, patience().deadline()) != FutexAnyOutcome::timed_out;
    }
    flows[0]->two().receiver.disarm();
    flows[1]->two().receiver.disarm();
  }
  EXPECT_TRUE(good) << "at " << next[0] << " and " << next[1];
  for (std::size_t i = 0; i < 2; ++i) {
    senders[i].join();
    EXPECT_TRUE(sent[i]);
  }
  EXPECT_GT(sleeps, 0U);
}

}  // namespace
}  // namespace flowfs::race
