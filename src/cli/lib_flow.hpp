// SPDX-License-Identifier: BSD-3-Clause
// Ends of flows through libflowfs, for the commands that measure the mapped path.
//
// Threads: as flowfs.h. Owns: the handle; the flow ends with it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "flowfs/flowfs.h"

namespace flowfs::cli {

// What a mapped end does while there is nothing to do: FLOWFS_SPIN_* of flowfs.h.
enum class Waiting : std::uint8_t { adaptive, spin, sleep };
std::string_view name_of(Waiting waiting);
unsigned flags_of(Waiting waiting);

struct CloseLibFlow {
  void operator()(flowfs_handle* handle) const { flowfs_close(handle); }
};
using LibFlow = std::unique_ptr<flowfs_handle, CloseLibFlow>;

// Dials names/NAME and waits for a server for as long as the name's dial_timeout says, or until
// `stop` says so. The end is up then, and mapped where it can be.
// Errors: EINTR `stop` ended it; those of flowfs_dial.
Result<LibFlow> dial_flow(const std::string& mount, const std::string& name, unsigned flags,
                          const std::function<bool()>& stop);

// Waits until the peer has closed its end. False: `most_ms` were over before.
bool wait_for_hangup(flowfs_handle* flow, int most_ms);

}  // namespace flowfs::cli
