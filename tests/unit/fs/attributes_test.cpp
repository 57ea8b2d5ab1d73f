// SPDX-License-Identifier: BSD-3-Clause
// The text of attribute files.
#include "fs/attributes.hpp"

#include <gmock/gmock.h>

#include <string>

namespace flowfs::fs {
namespace {

using registry::kUnlimited;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

template <typename T>
int error_of(const Result<T>& result) {
  return result ? 0 : result.error().error;
}

int number_error(std::string_view text, std::uint64_t least = 0, std::uint64_t most = 100,
                 bool max_allowed = false) {
  return error_of(parse_number(text, least, most, max_allowed));
}

TEST(attributes, trims_white_space_at_both_ends) {
  EXPECT_EQ(trim(" \t\r\n a b \n"), "a b");
  EXPECT_EQ(trim("a"), "a");
  EXPECT_EQ(trim(" \n"), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim(std::string_view("\0 a", 3)), std::string_view("\0 a", 3));
}

TEST(attributes, numbers_are_decimal_within_bounds) {
  EXPECT_EQ(parse_number("0", 0, 100, false).value(), 0U);
  EXPECT_EQ(parse_number(" 007\n", 0, 100, false).value(), 7U);
  EXPECT_EQ(parse_number("100", 0, 100, false).value(), 100U);
  EXPECT_EQ(parse_number("18446744073709551614", 0, kUnlimited - 1, false).value(), kUnlimited - 1);
}

TEST(attributes, numbers_out_of_range_are_erange) {
  EXPECT_EQ(number_error("101"), ERANGE);
  EXPECT_EQ(number_error("4", 5), ERANGE);
  EXPECT_EQ(number_error("18446744073709551616"), ERANGE);
  EXPECT_EQ(number_error("99999999999999999999999999"), ERANGE);
}

TEST(attributes, what_is_no_number_is_einval) {
  for (const char* text : {"", " ", "-1", "+1", "0x10", "1 2", "1.5", "1k", "ten", "MAX", "maximum",
                           "99999999999999999999999999x"}) {
    EXPECT_EQ(number_error(text, 0, 100, true), EINVAL) << text;
  }
  EXPECT_EQ(number_error(std::string_view("1\0", 2)), EINVAL);
}

TEST(attributes, max_is_no_limit_where_it_is_allowed) {
  EXPECT_EQ(parse_number("max\n", 0, 100, true).value(), kUnlimited);
  EXPECT_EQ(number_error("max"), ERANGE);
}

TEST(attributes, the_number_that_means_max_is_no_number) {
  EXPECT_EQ(number_error("18446744073709551615", 0, kUnlimited - 1, true), ERANGE);
}

TEST(attributes, formats_numbers) {
  EXPECT_EQ(format_number(0), "0");
  EXPECT_EQ(format_number(917'504), "917504");
  EXPECT_EQ(format_number(kUnlimited), "max");
}

TEST(attributes, pairs_are_a_line_each) {
  const auto pairs = parse_pairs("a 1\n\n  bb\t two words \r\nc 3");
  ASSERT_TRUE(pairs);
  EXPECT_THAT(*pairs, ElementsAre(Pair("a", "1"), Pair("bb", "two words"), Pair("c", "3")));
}

TEST(attributes, no_lines_are_no_pairs) {
  EXPECT_THAT(parse_pairs("").value(), IsEmpty());
  EXPECT_THAT(parse_pairs(" \n\n\t\n").value(), IsEmpty());
}

TEST(attributes, rejects_pairs_without_a_value_or_given_twice) {
  EXPECT_EQ(error_of(parse_pairs("a 1\nb\n")), EINVAL);
  EXPECT_EQ(error_of(parse_pairs("a 1\na 1\n")), EINVAL);
}

TEST(attributes, balance_is_one_of_three_words) {
  EXPECT_EQ(parse_balance("fifo\n").value(), registry::Balance::fifo);
  EXPECT_EQ(parse_balance(" round-robin ").value(), registry::Balance::round_robin);
  EXPECT_EQ(parse_balance("least-flows").value(), registry::Balance::least_flows);
  for (const char* text : {"", "Fifo", "round_robin", "fifo fifo"}) {
    EXPECT_EQ(error_of(parse_balance(text)), EINVAL) << text;
  }
}

TEST(attributes, qos_takes_every_key) {
  const auto qos =
      parse_qos("loss 1000000\nordered 0\ndelay 250\nbandwidth 1000000000\ntimeout max\n");
  ASSERT_TRUE(qos);
  EXPECT_EQ(qos->loss_ppm, 1'000'000U);
  EXPECT_FALSE(qos->ordered);
  EXPECT_EQ(qos->delay_us, 250U);
  EXPECT_EQ(qos->bandwidth, 1'000'000'000U);
  EXPECT_EQ(qos->timeout_us, kUnlimited);
}

TEST(attributes, qos_gives_absent_keys_their_defaults) {
  const auto qos = parse_qos("delay 5");
  ASSERT_TRUE(qos);
  EXPECT_EQ(qos->loss_ppm, 0U);
  EXPECT_TRUE(qos->ordered);
  EXPECT_EQ(qos->delay_us, 5U);
  EXPECT_EQ(qos->bandwidth, 0U);
  EXPECT_EQ(qos->timeout_us, kUnlimited);
}

TEST(attributes, qos_rejects_keys_and_values_it_does_not_know) {
  EXPECT_EQ(error_of(parse_qos("jitter 5")), EINVAL);
  EXPECT_EQ(error_of(parse_qos("delay soon")), EINVAL);
  EXPECT_EQ(error_of(parse_qos("loss 1\nloss 2")), EINVAL);
  EXPECT_EQ(error_of(parse_qos("loss 1000001")), ERANGE);
  EXPECT_EQ(error_of(parse_qos("loss max")), ERANGE);
  EXPECT_EQ(error_of(parse_qos("ordered 2")), ERANGE);
  EXPECT_EQ(error_of(parse_qos("delay 0")), ERANGE);
  EXPECT_EQ(error_of(parse_qos("timeout 0")), ERANGE);
  EXPECT_EQ(error_of(parse_qos("bandwidth max")), ERANGE);
}

TEST(attributes, qos_reads_what_it_formats) {
  constexpr const char* kText = "loss 7\nordered 0\ndelay max\nbandwidth 9\ntimeout 11\n";
  EXPECT_EQ(format_qos(parse_qos(kText).value()), kText);
  EXPECT_EQ(format_qos({}), "loss 0\nordered 1\ndelay max\nbandwidth 0\ntimeout max\n");
}

TEST(attributes, flow_verbs) {
  EXPECT_EQ(parse_flow_verb("shutdown read\n").value(), FlowVerb::shutdown_read);
  EXPECT_EQ(parse_flow_verb(" shutdown write").value(), FlowVerb::shutdown_write);
  EXPECT_EQ(parse_flow_verb("close").value(), FlowVerb::close);
  for (const char* text : {"", "shutdown", "shutdown  read", "CLOSE", "close now"}) {
    EXPECT_EQ(error_of(parse_flow_verb(text)), EINVAL) << text;
  }
}

}  // namespace
}  // namespace flowfs::fs
