// SPDX-License-Identifier: BSD-3-Clause
// Prints the numbers of flowfs/wire.h that the Python tests need, one `NAME VALUE` a line.
#include <flowfs/wire.h>

#include <cstdio>

int main() {
  std::printf("FLOWFS_IOC_ID %llu\n", static_cast<unsigned long long>(FLOWFS_IOC_ID));
  std::printf("FLOWFS_IOC_STATE %llu\n", static_cast<unsigned long long>(FLOWFS_IOC_STATE));
  std::printf("FLOWFS_IOC_PACKET %llu\n", static_cast<unsigned long long>(FLOWFS_IOC_PACKET));
  std::printf("FLOWFS_IOC_ATTACH %llu\n", static_cast<unsigned long long>(FLOWFS_IOC_ATTACH));
  std::printf("FLOWFS_IOC_SKIP %llu\n", static_cast<unsigned long long>(FLOWFS_IOC_SKIP));
  std::printf("FLOWFS_IOC_BUS %llu\n", static_cast<unsigned long long>(FLOWFS_IOC_BUS));
  std::printf("FLOWFS_IOC_POOL %llu\n", static_cast<unsigned long long>(FLOWFS_IOC_POOL));
  std::printf("FLOWFS_IOC_POOL_LANE %llu\n", static_cast<unsigned long long>(FLOWFS_IOC_POOL_LANE));
  std::printf("FLOWFS_IOC_POOL_CLASS %llu\n",
              static_cast<unsigned long long>(FLOWFS_IOC_POOL_CLASS));
  std::printf("FLOWFS_POOL_EXHAUSTED %u\n", FLOWFS_POOL_EXHAUSTED);
  std::printf("POOL_ATTACH_BYTES %zu\n", sizeof(flowfs_pool_attach));
  std::printf("POOL_MAGIC %llu\n", static_cast<unsigned long long>(FLOWFS_POOL_MAGIC));
  std::printf("ATTACH_BYTES %zu\n", sizeof(flowfs_attach));
  std::printf("BUS_ATTACH_BYTES %zu\n", sizeof(flowfs_bus_attach));
  std::printf("SEGMENT_MAGIC %llu\n", static_cast<unsigned long long>(FLOWFS_SEGMENT_MAGIC));
  std::printf("LAYOUT_VERSION %u\n", FLOWFS_LAYOUT_VERSION);
  std::printf("MEMORY_TX %u\n", FLOWFS_MEMORY_TX);
  std::printf("MEMORY_RX %u\n", FLOWFS_MEMORY_RX);
  std::printf("MEMORY_STATUS %u\n", FLOWFS_MEMORY_STATUS);
  std::printf("MEMORY_POOL %u\n", FLOWFS_MEMORY_POOL);
  std::printf("MEMORY_SHARED_POOL %u\n", FLOWFS_MEMORY_SHARED_POOL);
  std::printf("MEMORY_BUS_TX %u\n", FLOWFS_MEMORY_BUS_TX);
  std::printf("MEMORY_BUS_LOG %u\n", FLOWFS_MEMORY_BUS_LOG);
  return 0;
}
