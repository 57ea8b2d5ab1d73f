// SPDX-License-Identifier: BSD-3-Clause
// The two directions of a mapped end whose flow is encrypted.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>

#include "mapped_ends.hpp"

namespace flowfs::lib {
namespace {

constexpr Wait kNow{};
constexpr std::size_t kMtu = 20'000;
constexpr std::uint64_t kRecords = 5;  // of an epoch

class Sealed : public testing::Test {
 protected:
  Sealed() {
    limits.records = kRecords;
    flow.encrypt(limits);
  }
  std::string send(const std::string& text) {
    const Status sent = flow.one().sender.send(std::as_bytes(std::span(text)), kNow);
    return sent ? "ok" : sent.error().message();
  }
  // The message; empty: none.
  std::string receive() {
    std::string text(kMtu, '\0');
    const iovec piece{.iov_base = text.data(), .iov_len = text.size()};
    const auto got = flow.two().receiver.receive(Pieces(&piece, 1), kNow);
    text.resize(got.value_or(0));
    return text;
  }
  std::span<std::byte> lane() { return flow.attachment(0).tx.bytes().subspan(4'096); }
  bool is_in_lane(const void* place) {
    return place >= lane().data() && place < lane().data() + lane().size();
  }

  auth::RekeyLimits limits;
  test::MappedFlow flow{kMtu};
};

TEST_F(Sealed, loses_nothing_when_keys_change_under_load) {
  int sent = 0;
  int received = 0;
  while (received < 3'000) {
    while (send(std::to_string(sent)) == "ok") {
      ++sent;
    }
    for (int i = 0; i < 20 && received < sent; ++i) {
      ASSERT_EQ(receive(), std::to_string(received));
      ++received;
    }
  }
  EXPECT_GE(flow.attachment(1).sealed->opener.epoch(), 3'000 / kRecords - 1);
  EXPECT_EQ(flow.segment(1).receiving.drops, 0U);
}

TEST_F(Sealed, drops_and_counts_what_was_changed_on_its_way) {
  ASSERT_EQ(send("changed"), "ok");
  ASSERT_EQ(send("whole"), "ok");
  lane()[sizeof(flowfs_record) + auth::kRecordHeader] ^= std::byte{1};
  EXPECT_EQ(receive(), "whole");
  EXPECT_EQ(flow.segment(1).receiving.drops, 1U);
  EXPECT_EQ(receive(), "");
}

TEST_F(Sealed, drops_all_of_a_lane_that_anybody_could_have_written) {
  pool::LaneWriter liar(flow.attachment(0).geometry, flow.attachment(0).tx.bytes(),
                        flow.attachment(1).tx.bytes(), pool::Generation{1}, {});
  int lies = 0;
  const std::string lie(60, 'x');
  while (liar.write(std::as_bytes(std::span(lie))) == pool::LaneWriter::Outcome::ok) {
    ++lies;
  }
  ASSERT_GT(lies, 10);
  EXPECT_EQ(receive(), "");
  EXPECT_FALSE(flow.two().receiver.borrow(kNow).has_value());
  EXPECT_EQ(flow.segment(1).receiving.drops, static_cast<std::uint64_t>(lies));
}

TEST_F(Sealed, lends_and_shows_private_memory) {
  const auto space = flow.one().sender.loan(100, 0, kNow);
  ASSERT_TRUE(space.has_value());
  EXPECT_FALSE(is_in_lane(space->bytes.data()));
  std::ranges::fill(space->bytes, std::byte{'a'});
  EXPECT_NE(send("before it"), "ok");
  EXPECT_FALSE(flow.one().sender.loan(1, 0, kNow).has_value()) << "one at a time";
  ASSERT_TRUE(flow.one().sender.commit(space->id, 60, kNow).has_value());
  ASSERT_EQ(send("behind it"), "ok");
  const auto view = flow.two().receiver.borrow(kNow);
  ASSERT_TRUE(view.has_value());
  EXPECT_FALSE(is_in_lane(view->bytes.data()));
  EXPECT_EQ(std::ranges::count(view->bytes, std::byte{'a'}), 60);
  EXPECT_TRUE(flow.two().receiver.release(view->id).has_value());
  EXPECT_EQ(receive(), "behind it");
  EXPECT_FALSE(flow.one().sender.commit(space->id, 60, kNow).has_value());
}

TEST_F(Sealed, takes_messages_up_to_what_a_record_holds) {
  const std::string longest(kMtu - auth::kRecordOverhead, 'l');
  ASSERT_EQ(send(longest), "ok");
  EXPECT_EQ(receive(), longest);
  EXPECT_NE(send(longest + "l"), "ok");
}

TEST(SealedFlow, is_not_made_of_a_key_for_another_cipher) {
  flowfs_key key{};
  key.cipher = 77;
  key.digest = 1;
  const auto made = seal_with(key);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().error, EINVAL);
}

}  // namespace
}  // namespace flowfs::lib
