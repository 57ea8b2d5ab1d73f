/* SPDX-License-Identifier: BSD-3-Clause
 * What a C program sees of flowfs/wire.h, for wire_test.cpp to compare with. */
#include "flowfs/wire.h"

unsigned long wire_c_ioctls(int index) {
  const unsigned long numbers[] = {FLOWFS_IOC_ID, FLOWFS_IOC_PACKET, FLOWFS_IOC_ATTACH,
                                   FLOWFS_IOC_BUS};
  return numbers[index];
}

size_t wire_c_sizes(int index) {
  const size_t sizes[] = {sizeof(struct flowfs_segment),    sizeof(struct flowfs_record),
                          sizeof(struct flowfs_bulk),       sizeof(struct flowfs_status),
                          sizeof(struct flowfs_attach),     sizeof(struct flowfs_log),
                          sizeof(struct flowfs_log_record), sizeof(struct flowfs_bus_attach)};
  return sizes[index];
}

uint64_t wire_c_magic(void) { return FLOWFS_SEGMENT_MAGIC; }
