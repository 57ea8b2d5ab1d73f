// SPDX-License-Identifier: BSD-3-Clause
#include "cli/metrics.hpp"

#include <gtest/gtest.h>

namespace flowfs::cli {
namespace {

constexpr std::string_view kText =
    "# HELP requests_total Requests.\n"
    "# TYPE requests_total counter\n"
    "requests_total{operation=\"read\",uid=\"0\"} 3\n"
    "requests_total{operation=\"read\",uid=\"7\"} 4\n"
    "requests_total{operation=\"write\",uid=\"0\"} 1.5\n"
    "ends 12\n"
    "odd{name=\"a,b} \\\"c\\\" \\\\\"} 9\n";

TEST(Metrics, finds_a_sample_without_labels) { EXPECT_EQ(Metrics::parse(kText).total("ends"), 12); }

TEST(Metrics, adds_up_what_has_the_labels_asked_for) {
  const Metrics metrics = Metrics::parse(kText);
  EXPECT_EQ(metrics.total("requests_total"), 8.5);
  EXPECT_EQ(metrics.total("requests_total", {{"operation", "read"}}), 7);
  EXPECT_EQ(metrics.total("requests_total", {{"uid", "0"}, {"operation", "read"}}), 3);
  EXPECT_EQ(metrics.total("requests_total", {{"operation", "open"}}), 0);
}

TEST(Metrics, unescapes_values_of_labels) {
  EXPECT_EQ(Metrics::parse(kText).total("odd", {{"name", "a,b} \"c\" \\"}}), 9);
}

TEST(Metrics, has_nothing_of_what_is_not_there) {
  EXPECT_EQ(Metrics::parse(kText).total("request"), 0);
  EXPECT_TRUE(Metrics::parse("").empty());
}

TEST(Metrics, skips_what_it_does_not_understand) {
  const Metrics metrics =
      Metrics::parse("a\nb x\nc{ 1\nd{e} 2\nf{g=\"h} 3\ni{j=\"k\" 4\n\n \nl{} 5\nm 6");
  for (const char* name : {"a", "b", "c", "d", "f", "i"}) {
    EXPECT_EQ(metrics.total(name), 0) << name;
  }
  EXPECT_EQ(metrics.total("l"), 5);
  EXPECT_EQ(metrics.total("m"), 6);
}

}  // namespace
}  // namespace flowfs::cli
