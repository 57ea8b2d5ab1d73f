// SPDX-License-Identifier: BSD-3-Clause
#include "flow/message_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <string>
#include <string_view>

namespace flowfs::flow {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

std::string text(std::span<const std::byte> data) {
  std::string result(data.size(), '\0');
  std::ranges::transform(data, result.begin(), [](std::byte b) { return static_cast<char>(b); });
  return result;
}

TEST(MessageQueue, keeps_messages_apart_and_in_order) {
  MessageQueue queue;
  queue.push(bytes("one"));
  queue.push(bytes("second"));
  EXPECT_EQ(queue.count(), 2U);
  EXPECT_EQ(queue.payload_bytes(), 9U);
  EXPECT_EQ(text(queue.front_rest()), "one");
  queue.pop();
  EXPECT_EQ(text(queue.front_rest()), "second");
  queue.pop();
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.payload_bytes(), 0U);
}

TEST(MessageQueue, gives_a_begun_message_whole_again) {
  MessageQueue queue;
  queue.push(bytes("abcdef"));
  queue.consume(2);
  EXPECT_TRUE(queue.front_begun());
  EXPECT_EQ(text(queue.front_rest()), "cdef");
  EXPECT_EQ(text(queue.front_whole()), "abcdef");
  EXPECT_EQ(queue.payload_bytes(), 6U);
  queue.consume(4);
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.front_begun());
}

TEST(MessageQueue, gives_memory_back_when_empty) {
  MessageQueue queue;
  queue.push(bytes(std::string(500'000, 'x')));
  EXPECT_GE(queue.memory_bytes(), 500'000U);
  queue.pop();
  EXPECT_LE(queue.memory_bytes(), MessageQueue::kKeptBytes);
}

TEST(MessageQueue, costs_little_more_than_the_payload) {
  MessageQueue queue;
  for (int i = 0; i < 100'000; ++i) {
    queue.push(bytes("x"));
  }
  EXPECT_LE(queue.memory_bytes(), 100'000U * 5 * 2);
}

TEST(MessageQueue, agrees_with_a_deque_of_strings) {
  std::mt19937 random{20240607};
  MessageQueue queue;
  std::deque<std::string> model;
  std::size_t consumed = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0 && model.size() < 200) {
      std::string message(1 + random() % 700, static_cast<char>('a' + random() % 26));
      queue.push(bytes(message));
      model.push_back(std::move(message));
    } else if (!model.empty()) {
      ASSERT_EQ(text(queue.front_rest()), model.front().substr(consumed));
      ASSERT_EQ(text(queue.front_whole()), model.front());
      const std::size_t rest = model.front().size() - consumed;
      const std::size_t part = random() % 3 == 0 ? 1 + random() % rest : rest;
      queue.consume(part);
      consumed += part;
      if (consumed == model.front().size()) {
        model.pop_front();
        consumed = 0;
      }
    }
    ASSERT_EQ(queue.count(), model.size());
  }
}

}  // namespace
}  // namespace flowfs::flow
