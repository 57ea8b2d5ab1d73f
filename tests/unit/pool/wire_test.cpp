// SPDX-License-Identifier: BSD-3-Clause
#include "flowfs/wire.h"

#include <gtest/gtest.h>

#include <cstring>

extern "C" {
unsigned long wire_c_ioctls(int index);
std::size_t wire_c_sizes(int index);
std::uint64_t wire_c_magic(void);
}

namespace {

TEST(Wire, is_the_same_in_c) {
  EXPECT_EQ(wire_c_ioctls(0), FLOWFS_IOC_ID);
  EXPECT_EQ(wire_c_ioctls(1), FLOWFS_IOC_PACKET);
  EXPECT_EQ(wire_c_ioctls(2), FLOWFS_IOC_ATTACH);
  EXPECT_EQ(wire_c_sizes(0), sizeof(flowfs_segment));
  EXPECT_EQ(wire_c_sizes(1), sizeof(flowfs_record));
  EXPECT_EQ(wire_c_sizes(2), sizeof(flowfs_bulk));
  EXPECT_EQ(wire_c_sizes(3), sizeof(flowfs_status));
  EXPECT_EQ(wire_c_sizes(4), sizeof(flowfs_attach));
  EXPECT_EQ(wire_c_ioctls(3), FLOWFS_IOC_BUS);
  EXPECT_EQ(wire_c_sizes(5), sizeof(flowfs_log));
  EXPECT_EQ(wire_c_sizes(6), sizeof(flowfs_log_record));
  EXPECT_EQ(wire_c_sizes(7), sizeof(flowfs_bus_attach));
}

TEST(Wire, has_a_magic_that_reads_as_text_in_a_dump) {
  const std::uint64_t magic = wire_c_magic();
  char text[8];
  std::memcpy(text, &magic, sizeof text);
  EXPECT_STREQ(text, "flowseg");
  const std::uint64_t status = FLOWFS_STATUS_MAGIC;
  std::memcpy(text, &status, sizeof text);
  EXPECT_STREQ(text, "flowsts");
}

TEST(Wire, numbers_its_ioctls_as_linux_does) {
  EXPECT_EQ(_IOC_SIZE(FLOWFS_IOC_ATTACH), 128U);
  EXPECT_EQ(_IOC_DIR(FLOWFS_IOC_ATTACH), _IOC_READ);
  EXPECT_EQ(_IOC_DIR(FLOWFS_IOC_PACKET), _IOC_WRITE);
  EXPECT_EQ(_IOC_SIZE(FLOWFS_IOC_ID), 8U);
}

}  // namespace
