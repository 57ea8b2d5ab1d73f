// SPDX-License-Identifier: BSD-3-Clause
// Prints the numbers of flowfs/wire.h that the Python tests need, one `NAME VALUE` a line.
#include <flowfs/wire.h>

#include <cstdio>

int main() {
  std::printf("FLOWFS_IOC_ID %llu\n", static_cast<unsigned long long>(FLOWFS_IOC_ID));
  std::printf("FLOWFS_IOC_PACKET %llu\n", static_cast<unsigned long long>(FLOWFS_IOC_PACKET));
  std::printf("FLOWFS_IOC_ATTACH %llu\n", static_cast<unsigned long long>(FLOWFS_IOC_ATTACH));
  std::printf("ATTACH_BYTES %zu\n", sizeof(flowfs_attach));
  std::printf("SEGMENT_MAGIC %llu\n", static_cast<unsigned long long>(FLOWFS_SEGMENT_MAGIC));
  std::printf("LAYOUT_VERSION %u\n", FLOWFS_LAYOUT_VERSION);
  return 0;
}
