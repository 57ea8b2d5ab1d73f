// SPDX-License-Identifier: BSD-3-Clause
#include "cli/perf_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flowfs::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

PerfResult round_trips() {
  PerfResult result;
  result.name = "echo";
  result.size_bytes = 100;
  result.mapped = true;
  result.waiting = "adaptive";
  result.sent = 4;
  result.received = 4;
  result.elapsed_ns = 2'000'000'000;
  for (const std::uint64_t time_ns : {100U, 200U, 300U, 100'000U}) {
    result.times.add(time_ns);
  }
  return result;
}

KeyValues stats(std::string_view text) { return KeyValues::parse_lines(text); }

TEST(PerfReport, says_what_was_measured_and_how) {
  EXPECT_THAT(readable(round_trips()),
              HasSubstr("--- echo: round trips of 100 bytes, mapped, adaptive ---\n"));
  PerfResult through_files = round_trips();
  through_files.mapped = false;
  EXPECT_THAT(readable(through_files),
              HasSubstr("--- echo: round trips of 100 bytes, through files ---\n"));
}

TEST(PerfReport, has_the_rate_and_the_bytes_of_each_way) {
  EXPECT_THAT(readable(round_trips()),
              HasSubstr("4 messages in 2.00 s: 2 a second, 0.0002 MB/s each way\n"));
  EXPECT_EQ(as_json(round_trips())["msgs_per_s"], 2.0);
  EXPECT_EQ(as_json(round_trips())["bytes_per_s"], 200.0);
}

TEST(PerfReport, has_percentiles_in_microseconds) {
  EXPECT_THAT(readable(round_trips()),
              HasSubstr("round trip p50/p99/p99.9/max = 0.20/100.00/100.00/100.00 us, "
                        "min/avg = 0.10/25.15 us\n"));
  const auto times = as_json(round_trips())["time_us"];
  EXPECT_EQ(times["min"], 0.1);
  EXPECT_EQ(times["max"], 100.0);
  EXPECT_LE(times["p50"], times["p99"]);
  EXPECT_LE(times["p99"], times["p99_9"]);
}

TEST(PerfReport, leaves_out_times_that_were_not_taken) {
  PerfResult result = round_trips();
  result.shape = PerfShape::send;
  result.times = Histogram{};
  EXPECT_THAT(readable(result), Not(HasSubstr("p50")));
  EXPECT_FALSE(as_json(result).contains("time_us"));
}

TEST(PerfReport, tells_times_from_when_a_message_was_due) {
  PerfResult result = round_trips();
  result.rate = 1000;
  EXPECT_THAT(readable(result), HasSubstr("from due to answered p50"));
  EXPECT_EQ(as_json(result)["rate_per_s"], 1000.0);
  result.shape = PerfShape::send;
  EXPECT_THAT(readable(result), HasSubstr("from due to sent p50"));
}

TEST(PerfReport, counts_the_messages_that_went_the_way_measured) {
  PerfResult result = round_trips();
  result.sent = 10;
  result.received = 3;
  EXPECT_EQ(result.messages(), 3U);
  result.shape = PerfShape::send;
  EXPECT_EQ(result.messages(), 10U);
  result.shape = PerfShape::receive;
  EXPECT_EQ(result.messages(), 3U);
}

TEST(PerfReport, cries_out_when_messages_are_missing) {
  EXPECT_TRUE(round_trips().good());
  EXPECT_THAT(readable(round_trips()), Not(HasSubstr("WRONG")));
  PerfResult result = round_trips();
  result.lost = 1;
  result.disordered = 2;
  result.altered = 3;
  EXPECT_FALSE(result.good());
  EXPECT_THAT(readable(result), HasSubstr("WRONG: 1 lost, 2 out of order, 3 of another length\n"));
  EXPECT_EQ(as_json(result)["lost"], 1);
  EXPECT_EQ(as_json(result)["out_of_order"], 2);
  EXPECT_EQ(as_json(result)["altered"], 3);
}

TEST(PerfReport, says_how_many_copies_where_they_are_counted) {
  PerfResult result = round_trips();
  result.copies_sent = 1.0;
  EXPECT_THAT(readable(result), HasSubstr("copies of a message: 1.00 sent, not counted received"));
  EXPECT_EQ(as_json(result)["copies_sent"], 1.0);
  EXPECT_TRUE(as_json(result)["copies_received"].is_null());
}

TEST(PerfReport, divides_nothing_by_no_time) {
  PerfResult result = round_trips();
  result.elapsed_ns = 0;
  EXPECT_EQ(as_json(result)["msgs_per_s"], 0.0);
}

TEST(CopiesPerMessage, is_what_was_added_between_two_readings) {
  EXPECT_EQ(copies_per_message(stats("copies_sent 10\n"), stats("copies_sent 16\n"), 4), 1.5);
  EXPECT_EQ(copies_per_message(stats("copies_sent 10\n"), stats("copies_sent 10\n"), 4), 0.0);
}

TEST(CopiesPerMessage, is_unknown_where_nothing_was_counted) {
  const KeyValues before = stats("copies_sent 10\n");
  EXPECT_EQ(copies_per_message(before, before, 0), std::nullopt);
  EXPECT_EQ(copies_per_message(before, stats(""), 4), std::nullopt);
  EXPECT_EQ(copies_per_message(stats(""), before, 4), std::nullopt);
  EXPECT_EQ(copies_per_message(before, stats("copies_sent 0\n"), 4), std::nullopt);
}

TEST(Progress, is_the_rate_of_the_last_second) {
  EXPECT_EQ(progress(12, 5'000'000, 4'000'000), "  12 s     5.0M messages     1.0M/s");
}

}  // namespace
}  // namespace flowfs::cli
