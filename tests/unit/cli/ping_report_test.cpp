// SPDX-License-Identifier: BSD-3-Clause
#include "cli/ping_report.hpp"

#include <gmock/gmock.h>

#include <vector>

namespace flowfs::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::byte> payload(std::uint64_t sequence, std::size_t bytes) {
  std::vector<std::byte> message(bytes);
  fill_payload(sequence, message);
  return message;
}

TEST(PingReport, payloads_differ_from_message_to_message) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{8}, std::size_t{100}}) {
    EXPECT_NE(payload(1, bytes), payload(2, bytes)) << bytes;
  }
}

TEST(PingReport, times_an_answer) {
  PingSession session(56);
  EXPECT_EQ(session.next_sequence(), 1U);
  session.sent(1'000);
  EXPECT_TRUE(session.awaiting());
  const auto reply = session.received(payload(1, 56), 42'200);
  ASSERT_TRUE(reply);
  EXPECT_FALSE(session.awaiting());
  EXPECT_EQ(readable("log", *reply), "56 bytes from log: seq=1 time=41.2 us");
}

TEST(PingReport, an_answer_after_its_wait_is_late_and_belongs_to_the_oldest) {
  PingSession session(8);
  session.sent(0);
  session.gave_up();
  session.sent(1'000'000);
  const auto first = session.received(payload(1, 8), 1'500'000);
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->late);
  EXPECT_FALSE(first->altered);
  EXPECT_EQ(first->sequence, 1U);
  EXPECT_EQ(first->time_ns, 1'500'000U);
  EXPECT_TRUE(session.awaiting());
  const auto second = session.received(payload(2, 8), 1'600'000);
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->late);
  EXPECT_EQ(second->time_ns, 600'000U);
  EXPECT_EQ(session.answered(), 2U);
  EXPECT_THAT(session.summary("log", 2'000'000), HasSubstr("1 answers late\n"));
}

TEST(PingReport, an_answer_between_two_messages_is_late) {
  PingSession session(8);
  session.sent(0);
  session.gave_up();
  const auto reply = session.received(payload(1, 8), 10);
  ASSERT_TRUE(reply);
  EXPECT_TRUE(reply->late);
}

TEST(PingReport, notices_what_is_no_echo) {
  PingSession session(8);
  session.sent(0);
  const auto reply = session.received(payload(2, 8), 10);
  ASSERT_TRUE(reply);
  EXPECT_TRUE(reply->altered);
  EXPECT_EQ(session.received(payload(3, 8), 20), std::nullopt);
  EXPECT_THAT(session.summary("log", 1), HasSubstr("1 answers altered"));
  EXPECT_THAT(session.summary("log", 1), HasSubstr("1 answers unasked\n"));
}

TEST(PingReport, a_cut_or_extended_answer_is_altered) {
  for (const std::size_t bytes : {std::size_t{7}, std::size_t{9}}) {
    PingSession session(8);
    session.sent(0);
    EXPECT_TRUE(session.received(payload(1, bytes), 10)->altered) << bytes;
  }
}

TEST(PingReport, sums_up) {
  PingSession session(1);
  for (std::uint64_t sequence = 1; sequence <= 4; ++sequence) {
    session.sent(0);
    if (sequence != 3) {
      session.received(payload(sequence, 1), sequence * 10'000);
    } else {
      session.gave_up();
      session.received(payload(3, 1), 30'000);
    }
  }
  session.sent(0);
  session.gave_up();
  const std::string text = session.summary("log", 5'000'000);
  EXPECT_THAT(text, HasSubstr("5 messages sent, 4 answered, 20% unanswered, time 5 ms\n"));
  EXPECT_THAT(text, HasSubstr("rtt min/avg/p50/p99/max = 10.0/25.0/"));
  const auto object = session.summary_json("log", 5'000'000);
  EXPECT_EQ(object["sent"], 5);
  EXPECT_EQ(object["answered"], 4);
  EXPECT_EQ(object["late"], 1);
  EXPECT_DOUBLE_EQ(object["rtt_us"]["avg"].get<double>(), 25.0);
  EXPECT_DOUBLE_EQ(object["rtt_us"]["max"].get<double>(), 40.0);
}

TEST(PingReport, has_no_times_without_answers) {
  PingSession session(1);
  session.sent(0);
  session.gave_up();
  EXPECT_THAT(session.summary("log", 1), HasSubstr("100% unanswered"));
  EXPECT_THAT(session.summary("log", 1), Not(HasSubstr("rtt")));
  EXPECT_FALSE(session.summary_json("log", 1).contains("rtt_us"));
}

}  // namespace
}  // namespace flowfs::cli
