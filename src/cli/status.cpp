// SPDX-License-Identifier: BSD-3-Clause
#include <unistd.h>

#include "cli/commands.hpp"
#include "cli/snapshot.hpp"
#include "cli/table.hpp"

namespace flowfs::cli {

int run_status(const Common& common) {
  Snapshot snapshot;
  std::string object;
  if (const int error = take_snapshot(common, snapshot, object); error != 0) {
    return failed(Deed::read_tree, object, error);
  }
  if (common.json) {
    print_json(as_json(snapshot));
  } else {
    print_text(render(snapshot, terminal_width(STDOUT_FILENO)));
  }
  return kDone;
}

}  // namespace flowfs::cli
