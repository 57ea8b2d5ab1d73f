// SPDX-License-Identifier: BSD-3-Clause
#include <sys/ioctl.h>

#include <cstdint>

#include "cli/commands.hpp"
#include "flowfs/wire.h"

namespace flowfs::cli {

int run_id(const Common& common, int descriptor) {
  std::uint64_t flow = 0;
  if (ioctl(descriptor, FLOWFS_IOC_ID, &flow) != 0) {
    return failed(Deed::identify, fmt::format("descriptor {}", descriptor), errno);
  }
  if (common.json) {
    print_json({{"descriptor", descriptor}, {"flow", flow}});
  } else {
    print_text(fmt::format("{}\n", flow));
  }
  return kDone;
}

}  // namespace flowfs::cli
