// SPDX-License-Identifier: BSD-3-Clause
#include "flow/channel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace flowfs::flow {
namespace {

constexpr Side kClient = Side::client;
constexpr Side kServer = Side::server;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

std::string text(std::span<const std::byte> data) {
  std::string result(data.size(), '\0');
  std::ranges::transform(data, result.begin(), [](std::byte b) { return static_cast<char>(b); });
  return result;
}

// Reads one whole message, or says why there is none.
std::string read(Channel& channel, Side to) {
  const Channel::Front front = channel.front(to);
  if (front.outcome != ReadOutcome::ok) {
    return front.outcome == ReadOutcome::end ? "(end)" : "(empty)";
  }
  std::string result = text(front.rest);
  channel.consume(to, front.rest.size());
  return result;
}

TEST(Channel, delivers_each_message_once_and_in_order) {
  Channel channel{{}};
  EXPECT_EQ(channel.write(kClient, bytes("one")), WriteOutcome::ok);
  EXPECT_EQ(channel.write(kClient, bytes("two")), WriteOutcome::ok);
  EXPECT_EQ(read(channel, kServer), "one");
  EXPECT_EQ(read(channel, kServer), "two");
  EXPECT_EQ(read(channel, kServer), "(empty)");
  EXPECT_EQ(read(channel, kClient), "(empty)");
}

TEST(Channel, continues_a_message_that_was_read_short) {
  Channel channel{{}};
  ASSERT_EQ(channel.write(kServer, bytes("abcdef")), WriteOutcome::ok);
  EXPECT_FALSE(channel.front(kClient).begun);
  channel.consume(kClient, 4);
  EXPECT_TRUE(channel.front(kClient).begun);
  EXPECT_EQ(read(channel, kClient), "ef");
  EXPECT_EQ(read(channel, kClient), "(empty)");
}

TEST(Channel, refuses_more_than_the_mtu) {
  Channel channel{{.mtu_bytes = 4, .depth_bytes = 100}};
  EXPECT_EQ(channel.write(kClient, bytes("12345")), WriteOutcome::too_long);
  EXPECT_EQ(channel.write(kClient, bytes("1234")), WriteOutcome::ok);
}

TEST(Channel, is_full_at_its_depth_but_takes_one_message_of_any_length) {
  Channel channel{{.mtu_bytes = 20, .depth_bytes = 8}};
  EXPECT_EQ(channel.write(kClient, bytes("0123456789")), WriteOutcome::ok);
  EXPECT_EQ(channel.write(kClient, bytes("x")), WriteOutcome::full);
  EXPECT_EQ(read(channel, kServer), "0123456789");
  EXPECT_EQ(channel.write(kClient, bytes("1234")), WriteOutcome::ok);
  EXPECT_EQ(channel.write(kClient, bytes("5678")), WriteOutcome::ok);
  EXPECT_EQ(channel.write(kClient, bytes("9")), WriteOutcome::full);
  EXPECT_EQ(channel.queued_bytes(kClient), 8U);
}

TEST(Channel, holds_room_until_the_whole_message_is_read) {
  Channel channel{{.mtu_bytes = 8, .depth_bytes = 8}};
  ASSERT_EQ(channel.write(kClient, bytes("12345678")), WriteOutcome::ok);
  ASSERT_EQ(channel.front(kServer).outcome, ReadOutcome::ok);
  channel.consume(kServer, 7);
  EXPECT_EQ(channel.write(kClient, bytes("x")), WriteOutcome::full);
  EXPECT_EQ(channel.queued_bytes(kClient), 8U);
  channel.consume(kServer, 1);
  EXPECT_EQ(channel.write(kClient, bytes("x")), WriteOutcome::ok);
}

TEST(Channel, reads_the_rest_before_the_end_of_file) {
  Channel channel{{}};
  ASSERT_EQ(channel.write(kClient, bytes("last")), WriteOutcome::ok);
  channel.close(kClient);
  EXPECT_TRUE(channel.is_closed(kClient));
  EXPECT_FALSE(channel.is_closed(kServer));
  EXPECT_EQ(read(channel, kServer), "last");
  EXPECT_EQ(read(channel, kServer), "(end)");
  EXPECT_EQ(channel.write(kServer, bytes("x")), WriteOutcome::closed);
}

TEST(Channel, shuts_down_one_direction_at_a_time) {
  Channel channel{{}};
  channel.shutdown_write(kClient);
  EXPECT_EQ(channel.write(kClient, bytes("x")), WriteOutcome::closed);
  EXPECT_EQ(read(channel, kServer), "(end)");
  EXPECT_EQ(channel.write(kServer, bytes("answer")), WriteOutcome::ok);
  EXPECT_EQ(read(channel, kClient), "answer");
  EXPECT_FALSE(channel.is_closed(kClient));
}

TEST(Channel, drops_what_nobody_will_read) {
  Channel channel{{}};
  ASSERT_EQ(channel.write(kClient, bytes("lost")), WriteOutcome::ok);
  channel.shutdown_read(kServer);
  EXPECT_EQ(channel.queued_bytes(kClient), 0U);
  EXPECT_EQ(read(channel, kServer), "(end)");
  EXPECT_EQ(channel.write(kClient, bytes("x")), WriteOutcome::closed);
  EXPECT_FALSE(channel.is_closed(kServer));
}

TEST(Channel, closes_twice_without_effect) {
  Channel channel{{}};
  ASSERT_EQ(channel.write(kClient, bytes("last")), WriteOutcome::ok);
  channel.close(kClient);
  channel.close(kClient);
  EXPECT_EQ(read(channel, kServer), "last");
}

TEST(Channel, tells_readiness_as_poll_does) {
  Channel channel{{.mtu_bytes = 4, .depth_bytes = 6}};
  EXPECT_FALSE(channel.readable(kServer));
  EXPECT_TRUE(channel.writable(kClient));
  ASSERT_EQ(channel.write(kClient, bytes("123")), WriteOutcome::ok);
  EXPECT_TRUE(channel.readable(kServer));
  EXPECT_FALSE(channel.writable(kClient)) << "a message of the mtu would not fit";
  EXPECT_EQ(read(channel, kServer), "123");
  EXPECT_TRUE(channel.writable(kClient));
  channel.close(kServer);
  EXPECT_TRUE(channel.writable(kClient)) << "EPIPE comes at once";
  EXPECT_TRUE(channel.readable(kClient)) << "end of file";
}

TEST(Channel, counts_messages_bytes_and_copies) {
  Channel channel{{}};
  ASSERT_EQ(channel.write(kClient, bytes("12345")), WriteOutcome::ok);
  ASSERT_EQ(channel.write(kClient, bytes("678")), WriteOutcome::ok);
  EXPECT_EQ(channel.stats(kClient).messages, 2U);
  EXPECT_EQ(channel.stats(kClient).bytes, 8U);
  EXPECT_EQ(channel.stats(kClient).copies, 2U);
  EXPECT_EQ(channel.stats(kServer).messages, 0U);
}

}  // namespace
}  // namespace flowfs::flow
