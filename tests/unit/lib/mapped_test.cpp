// SPDX-License-Identifier: BSD-3-Clause
// The two directions of a mapped end, with the daemon's part played word by word: what a mounted
// tree shows only by chance.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "mapped_ends.hpp"

namespace flowfs::lib {
namespace {

using test::MappedFlow;

constexpr Wait kNow{};
constexpr std::size_t kMtu = 20'000;
constexpr std::size_t kLong = 10'000;

std::vector<std::byte> message(std::size_t length, int fill = 1) {
  return std::vector<std::byte>(length, static_cast<std::byte>(fill));
}

int error_of(const Status& status) { return status ? 0 : status.error().error; }
template <typename T>
int error_of(const Result<T>& result) {
  return result ? 0 : result.error().error;
}

class Mapped : public testing::Test {
 protected:
  Mapped() { flow.share_pool(true); }

  Space lend(std::size_t length, int fill = 1) {
    const auto space = flow.one().sender.loan(length, 0, kNow);
    EXPECT_EQ(error_of(space), 0);
    std::ranges::fill(space->bytes, static_cast<std::byte>(fill));
    return *space;
  }
  void send_block(int fill = 1) {
    const Space space = lend(kLong, fill);
    ASSERT_EQ(error_of(flow.one().sender.commit(space.id, kLong, kNow)), 0);
  }
  Result<std::size_t> receive(std::size_t room = kMtu) {
    buffer.resize(room);
    const iovec piece{.iov_base = buffer.data(), .iov_len = buffer.size()};
    return flow.two().receiver.receive(Pieces(&piece, 1), kNow);
  }
  [[nodiscard]] std::uint32_t block_of(const Space& space) {
    const auto& its = flow.pool().memory.geometry().classes()[1];
    const auto at =
        static_cast<std::uint64_t>(space.bytes.data() - flow.pool().memory.bytes().data());
    return its.first_block + static_cast<std::uint32_t>((at - its.offset) / its.block_bytes);
  }
  // "free held in_flight" of the class that long messages take.
  std::string blocks() { return flow.pool().count(1); }
  [[nodiscard]] std::uint64_t copies(std::size_t side) {
    return flow.segment(side).sending.copies + flow.segment(side).receiving.copies;
  }

  MappedFlow flow{kMtu};
  std::vector<std::byte> buffer;
};

TEST_F(Mapped, hands_a_block_over_without_a_copy) {
  const Space space = lend(kLong);
  EXPECT_EQ(blocks(), "19 1 0");
  ASSERT_EQ(error_of(flow.one().sender.commit(space.id, kLong - 1, kNow)), 0);
  EXPECT_EQ(blocks(), "19 0 1");
  const auto view = flow.two().receiver.borrow(kNow);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->bytes.size(), kLong - 1);
  EXPECT_EQ(view->bytes.data(), space.bytes.data());
  EXPECT_EQ(blocks(), "19 1 0");
  EXPECT_EQ(error_of(flow.two().receiver.release(view->id)), 0);
  EXPECT_EQ(blocks(), "20 0 0");
  EXPECT_EQ(copies(0) + copies(1), 0U);
}

TEST_F(Mapped, copies_a_block_where_the_pool_is_not_shared_any_more) {
  const Space space = lend(kLong, 7);
  flow.share_pool(false);
  ASSERT_EQ(error_of(flow.one().sender.commit(space.id, kLong, kNow)), 0);
  EXPECT_EQ(blocks(), "20 0 0");
  EXPECT_EQ(copies(0), 1U);
  EXPECT_EQ(receive().value(), kLong);
  EXPECT_EQ(buffer[kLong - 1], std::byte{7});
}

TEST_F(Mapped, takes_a_block_back_from_a_peer_that_has_gone) {
  const Space space = lend(kLong);
  const Space other = lend(kLong);
  flow.slot(0).flags = FLOWFS_STATUS_PEER_DEAF;
  EXPECT_EQ(error_of(flow.one().sender.commit(space.id, kLong, kNow)), EPIPE);
  EXPECT_EQ(blocks(), "19 1 0") << "the loan is over";
  EXPECT_EQ(error_of(flow.one().sender.commit(space.id, kLong, kNow)), EINVAL);
  EXPECT_EQ(error_of(flow.one().sender.cancel(other.id)), 0);
  EXPECT_EQ(blocks(), "20 0 0");
}

TEST_F(Mapped, keeps_a_loan_for_which_there_is_no_room) {
  const Space space = lend(kLong);
  while (flow.one().sender.send(std::span<const std::byte>(message(1)), kNow)) {
  }
  EXPECT_EQ(error_of(flow.one().sender.commit(space.id, kLong, kNow)), EAGAIN);
  EXPECT_EQ(blocks(), "19 1 0");
  while (receive()) {
  }
  EXPECT_EQ(error_of(flow.one().sender.commit(space.id, kLong, kNow)), 0);
  EXPECT_EQ(receive().value(), kLong);
}

TEST_F(Mapped, lends_from_the_lane_what_is_short_and_what_the_pool_has_not) {
  lend(496);
  EXPECT_EQ(blocks(), "20 0 0");
  EXPECT_EQ(error_of(flow.one().sender.loan(496, 0, kNow)), EBUSY);
  for (int i = 0; i < 20; ++i) {
    lend(kLong);
  }
  EXPECT_EQ(error_of(flow.one().sender.loan(kLong, 0, kNow)), EBUSY);
  EXPECT_EQ(blocks(), "0 20 0");
}

TEST_F(Mapped, passes_over_a_block_that_is_gone_and_counts_it) {
  const Space first = lend(kLong, 1);
  ASSERT_EQ(error_of(flow.one().sender.commit(first.id, kLong, kNow)), 0);
  send_block(2);
  // As whoever cleans up after a sender does, with the exact word.
  pool::OwnerWord word = flow.pool().words.look(block_of(first));
  ASSERT_EQ(word.state(), FLOWFS_BLOCK_IN_FLIGHT);
  ASSERT_TRUE(flow.pool().words.change(block_of(first), word,
                                       pool::OwnerWord::free_in(0, word.generation() + 1)));
  EXPECT_EQ(receive().value(), kLong);
  EXPECT_EQ(buffer[0], std::byte{2});
  EXPECT_EQ(flow.segment(1).receiving.drops, 1U);
  EXPECT_EQ(error_of(receive()), EAGAIN);
}

TEST_F(Mapped, keeps_a_block_that_a_buffer_is_too_short_for) {
  send_block();
  EXPECT_EQ(error_of(receive(kLong - 1)), EMSGSIZE);
  EXPECT_EQ(blocks(), "19 0 1");
  EXPECT_EQ(receive(kLong).value(), kLong);
  EXPECT_EQ(copies(1), 1U);
}

TEST_F(Mapped, gives_everything_back_when_it_is_destroyed) {
  send_block();
  send_block();
  ASSERT_TRUE(flow.two().receiver.borrow(kNow).has_value());
  lend(kLong);
  EXPECT_EQ(blocks(), "17 2 1");
  flow.close_end(0);
  flow.close_end(1);
  EXPECT_EQ(blocks(), "19 0 1") << "what was not yet read is for the daemon to free";
}

TEST_F(Mapped, forwards_the_block_itself) {
  send_block(5);
  const auto view = flow.two().receiver.borrow(kNow);
  auto taken = flow.two().receiver.take_block(view->id);
  ASSERT_TRUE(taken.has_value());
  EXPECT_FALSE(flow.two().receiver.find_view(view->id).has_value());
  EXPECT_TRUE(flow.two().sender.send_block(*taken, kNow).value());
  const auto back = flow.one().receiver.borrow(kNow);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->bytes.data(), view->bytes.data());
  EXPECT_EQ(back->bytes.size(), kLong);
  EXPECT_EQ(copies(0) + copies(1), 0U);
}

TEST_F(Mapped, puts_back_what_could_not_be_forwarded) {
  send_block(5);
  const auto view = flow.two().receiver.borrow(kNow);
  auto taken = flow.two().receiver.take_block(view->id);
  flow.slot(1).flags = FLOWFS_STATUS_MUTE;
  EXPECT_EQ(error_of(flow.two().sender.send_block(*taken, kNow)), EPIPE);
  flow.two().receiver.put_block_back(view->id, *taken);
  const auto again = flow.two().receiver.find_view(view->id);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->bytes.data(), view->bytes.data());
  EXPECT_EQ(error_of(flow.two().receiver.release(view->id)), 0);
  EXPECT_EQ(blocks(), "20 0 0");
}

TEST_F(Mapped, holds_its_cursors_at_what_is_borrowed) {
  const auto& cursors = flow.segment(1).cursors;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(error_of(flow.one().sender.send(std::span<const std::byte>(message(100)), kNow)), 0);
  }
  const auto first = flow.two().receiver.borrow(kNow);
  const auto second = flow.two().receiver.borrow(kNow);
  ASSERT_EQ(receive().value(), 100U);
  EXPECT_EQ(error_of(receive()), EAGAIN);
  EXPECT_EQ(cursors.hot, 0U);
  EXPECT_EQ(error_of(flow.two().receiver.release(second->id)), 0);
  EXPECT_EQ(cursors.hot, 0U);
  EXPECT_EQ(error_of(flow.two().receiver.release(first->id)), 0);
  EXPECT_EQ(cursors.hot, 3U * 128);
  EXPECT_EQ(error_of(flow.two().receiver.release(first->id)), EINVAL);
}

TEST_F(Mapped, does_not_hold_its_cursors_at_a_block) {
  send_block();
  ASSERT_TRUE(flow.two().receiver.borrow(kNow).has_value());
  EXPECT_EQ(error_of(receive()), EAGAIN);
  EXPECT_EQ(flow.segment(1).cursors.hot, 48U);
}

TEST_F(Mapped, counts_what_it_copies_and_how_often_it_waits) {
  auto sent = message(100);
  const iovec piece{.iov_base = sent.data(), .iov_len = sent.size()};
  const std::array<iovec, 3> pieces = {piece, piece, piece};
  ASSERT_EQ(error_of(flow.one().sender.send(std::span<const std::byte>(sent), kNow)), 0);
  ASSERT_EQ(error_of(flow.one().sender.send(Pieces(pieces), kNow)), 0);
  ASSERT_EQ(flow.one().sender.send_many(Pieces(pieces), kNow).value(), 3U);
  EXPECT_EQ(copies(0), 5U);
  EXPECT_EQ(receive().value(), 100U);
  EXPECT_EQ(receive().value(), 300U);
  EXPECT_EQ(copies(1), 2U);
  const Wait soon = Wait::at_most(Micros(1'000));
  while (flow.two().receiver.borrow(soon)) {
  }
  EXPECT_EQ(flow.segment(1).receiving.waits, 1U);
}

TEST(Wait, begins_when_it_is_first_asked_for) {
  const Wait wait = Wait::at_most(Micros(1'000'000));
  const Instant asked = Clock::now();
  const Instant deadline = wait.deadline();
  EXPECT_GE(deadline, asked + Micros(1'000'000));
  EXPECT_EQ(wait.deadline(), deadline);
  EXPECT_FALSE(wait.is_over());
  EXPECT_FALSE(Wait::for_ever().has_end());
  EXPECT_TRUE(kAtOnce.has_end());
}

TEST_F(Mapped, copies_only_what_may_not_stay_of_a_long_loan) {
  flow.share_pool(false);
  const Space kept = lend(kLong);
  ASSERT_EQ(error_of(flow.one().sender.commit(kept.id, 497, kNow)), 0);
  EXPECT_EQ(copies(0), 0U);
  const Space moved = lend(kLong);
  ASSERT_EQ(error_of(flow.one().sender.commit(moved.id, 496, kNow)), 0);
  EXPECT_EQ(copies(0), 1U);
  EXPECT_EQ(receive().value(), 497U);
  EXPECT_EQ(receive().value(), 496U);
}

TEST_F(Mapped, is_ready_where_a_call_would_not_wait) {
  EXPECT_FALSE(flow.two().receiver.is_ready());
  EXPECT_TRUE(flow.one().sender.is_ready());
  send_block();
  EXPECT_TRUE(flow.two().receiver.is_ready());
  EXPECT_FALSE(flow.two().receiver.arm().has_value());
  while (flow.one().sender.send(std::span<const std::byte>(message(400)), kNow)) {
  }
  EXPECT_FALSE(flow.one().sender.is_ready());
  const auto bell = flow.one().sender.arm();
  ASSERT_TRUE(bell.has_value());
  EXPECT_EQ(bell->word, pool::futex_word(flow.segment(1).bell));
  while (receive()) {
  }
  EXPECT_NE(bell->word->load(), bell->value) << "it was rung";
  flow.one().sender.disarm();
  EXPECT_TRUE(flow.one().sender.is_ready());
}

}  // namespace
}  // namespace flowfs::lib
