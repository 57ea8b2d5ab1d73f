// SPDX-License-Identifier: BSD-3-Clause
#include "base/counters.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace flowfs {
namespace {

using Type = MetricsText::Type;

TEST(MetricsText, writes_families_and_samples) {
  MetricsText text;
  text.family("flowfs_drops_total", "Messages dropped.", Type::counter);
  text.sample("flowfs_drops_total", {{"reason", "full"}, {"side", "rx"}}, 3);
  text.sample("flowfs_drops_total", {{"reason", "closed"}, {"side", "tx"}},
              std::numeric_limits<std::uint64_t>::max());
  text.single("flowfs_flows", "Flows alive.", Type::gauge, 0);
  EXPECT_EQ(text.take(),
            "# HELP flowfs_drops_total Messages dropped.\n"
            "# TYPE flowfs_drops_total counter\n"
            "flowfs_drops_total{reason=\"full\",side=\"rx\"} 3\n"
            "flowfs_drops_total{reason=\"closed\",side=\"tx\"} 18446744073709551615\n"
            "# HELP flowfs_flows Flows alive.\n"
            "# TYPE flowfs_flows gauge\n"
            "flowfs_flows 0\n");
  EXPECT_EQ(text.take(), "");
}

TEST(MetricsText, escapes_label_values_and_help) {
  MetricsText text;
  text.family("a", "back\\slash, \"quote\" and\nnewline", Type::gauge);
  text.sample("a", {{"name", "x\"} 1\ny\\"}}, 1);
  EXPECT_EQ(text.take(),
            "# HELP a back\\\\slash, \"quote\" and\\nnewline\n"
            "# TYPE a gauge\n"
            "a{name=\"x\\\"} 1\\ny\\\\\"} 1\n");
}

TEST(MetricsTextDeathTest, a_sample_belongs_to_the_family_begun_last) {
  MetricsText text;
  text.family("a", "A.", Type::gauge);
  EXPECT_DEATH(text.sample("b", {}, 1), "broken invariant");
}

}  // namespace
}  // namespace flowfs
