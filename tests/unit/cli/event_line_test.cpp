// SPDX-License-Identifier: BSD-3-Clause
#include "cli/event_line.hpp"

#include <gmock/gmock.h>

#include <cstdlib>

namespace flowfs::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view kCreated = "1763700000.123456 name-created names/log uid=1000 mode=0755";
constexpr std::string_view kLost = "1763700000.000001 lost - count=17";

class EventLineTest : public testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "UTC", 1);
    tzset();
  }
};

TEST_F(EventLineTest, reads_the_parts_of_a_line) {
  const auto event = parse_event(kCreated);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->wall_us, 1'763'700'000'123'456U);
  EXPECT_EQ(event->kind, "name-created");
  EXPECT_EQ(event->object, "names/log");
  EXPECT_EQ(event->words.number("uid"), 1000U);
  EXPECT_EQ(event->words.find("mode"), "0755");
}

TEST_F(EventLineTest, takes_nothing_else) {
  for (const char* line :
       {"", "x", "1763700000 name-created names/a uid=1", "1763700000.12 name-created names/a",
        "1763700000.123456", "1763700000.123456 name-created", "99999999999999999999.000000 a b",
        "18446744073709551615.000000 a b", "-1.000000 a b", "1.00000a a b"}) {
    EXPECT_EQ(parse_event(line), std::nullopt) << line;
  }
}

TEST_F(EventLineTest, is_readable_with_local_time) {
  EXPECT_EQ(readable(*parse_event(kCreated)),
            "2025-11-21 04:40:00.123456  name created      names/log  uid 1000  mode 0755");
}

TEST_F(EventLineTest, says_how_much_was_lost) {
  EXPECT_EQ(readable(*parse_event(kLost)),
            "2025-11-21 04:40:00.000001  -- 17 events lost: this reader was too slow --");
}

TEST_F(EventLineTest, becomes_one_object) {
  const nlohmann::ordered_json object = as_json(*parse_event(kCreated));
  EXPECT_EQ(object.dump(),
            R"({"time":1763700000.123456,"kind":"name-created","object":"names/log",)"
            R"("uid":1000,"mode":755})");
}

TEST_F(EventLineTest, keeps_its_own_fields_when_a_word_has_their_name) {
  const auto object = as_json(*parse_event("1.000000 a b kind=c"));
  EXPECT_EQ(object["kind"], "a");
}

TEST_F(EventLineTest, filters_by_kind_and_pattern) {
  const EventLine event = *parse_event(kCreated);
  EXPECT_TRUE(matches({}, event));
  EXPECT_TRUE(matches({.kinds = {"name-removed", "name-created"}, .object_glob = ""}, event));
  EXPECT_FALSE(matches({.kinds = {"name-removed"}, .object_glob = ""}, event));
  EXPECT_TRUE(matches({.kinds = {}, .object_glob = "*log"}, event));
  EXPECT_FALSE(matches({.kinds = {}, .object_glob = "flows/*"}, event));
  EXPECT_FALSE(matches({.kinds = {"name-created"}, .object_glob = "log"}, event));
}

TEST_F(EventLineTest, never_filters_losses) {
  EXPECT_TRUE(matches({.kinds = {"name-created"}, .object_glob = "names/*"}, *parse_event(kLost)));
}

TEST_F(EventLineTest, takes_whole_lines_and_keeps_the_rest) {
  std::string pending = "one\ntwo\nthr";
  EXPECT_THAT(take_lines(pending), ElementsAre("one", "two"));
  EXPECT_EQ(pending, "thr");
  EXPECT_THAT(take_lines(pending), IsEmpty());
  pending += "ee\n";
  EXPECT_THAT(take_lines(pending), ElementsAre("three"));
  EXPECT_EQ(pending, "");
}

}  // namespace
}  // namespace flowfs::cli
