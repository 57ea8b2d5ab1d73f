// SPDX-License-Identifier: BSD-3-Clause
#include <unistd.h>

#include <thread>

#include "cli/commands.hpp"
#include "cli/table.hpp"
#include "cli/top_sample.hpp"
#include "cli/top_screen.hpp"

namespace flowfs::cli {
namespace {

// One table, or line of JSON, after the other. The first sample only serves to compare with.
int print_samples(const Common& common, const TopOptions& options) {
  TopSample before;
  if (const int error = take_sample(common, before); error != 0) {
    return failed(Deed::read_tree, common.mount, error);
  }
  for (std::uint64_t printed = 0; options.count == 0 || printed < options.count; ++printed) {
    std::this_thread::sleep_for(micros_of(options.delay_s));
    TopSample now;
    if (const int error = take_sample(common, now); error != 0) {
      return failed(Deed::read_tree, common.mount, error);
    }
    const TopView view(before, now);
    if (common.json) {
      print_json(view.as_json(options.sort));
    } else {
      print_text((printed == 0 ? "" : "\n") +
                 view.render(terminal_width(STDOUT_FILENO), options.sort));
    }
    before = std::move(now);
  }
  return kDone;
}

}  // namespace

int run_top(const Common& common, const TopOptions& options) {
  const bool plain = options.batch || common.json || options.count != 0 || !can_use_screen();
  return plain ? print_samples(common, options) : run_top_screen(common, options);
}

}  // namespace flowfs::cli
