// SPDX-License-Identifier: BSD-3-Clause
#include "cli/lib_flow.hpp"

#include <poll.h>

#include "base/clock.hpp"

namespace flowfs::cli {
namespace {

constexpr int kSliceMs = 20;  // how often a wait asks whether to stop

}  // namespace

std::string_view name_of(Waiting waiting) {
  switch (waiting) {
    case Waiting::spin:
      return "spin";
    case Waiting::sleep:
      return "sleep";
    case Waiting::adaptive:
      break;
  }
  return "adaptive";
}

unsigned flags_of(Waiting waiting) {
  switch (waiting) {
    case Waiting::spin:
      return FLOWFS_SPIN_ALWAYS;
    case Waiting::sleep:
      return FLOWFS_SPIN_NEVER;
    case Waiting::adaptive:
      break;
  }
  return 0;
}

Result<LibFlow> dial_flow(const std::string& mount, const std::string& name, unsigned flags,
                          const std::function<bool()>& stop) {
  LibFlow flow(flowfs_dial(mount.c_str(), name.c_str(), flags, 0));
  if (!flow) {
    return fail_errno("flowfs_dial");
  }
  pollfd up{.fd = flowfs_fd(flow.get()), .events = POLLOUT, .revents = 0};
  while (poll(&up, 1, kSliceMs) <= 0) {
    if (stop()) {
      return fail(EINTR, "flowfs_dial");
    }
  }
  // An empty message is refused, but not before it is settled how the end works, or why it has no
  // peer.
  if (flowfs_send(flow.get(), nullptr, 0, 0) < 0 && errno != EINVAL) {
    return fail_errno("flowfs_dial");
  }
  return flow;
}

bool wait_for_hangup(flowfs_handle* flow, int most_ms) {
  const Instant deadline = Clock::now() + std::chrono::milliseconds(most_ms);
  pollfd hangup{.fd = flowfs_fd(flow), .events = 0, .revents = 0};
  while (poll(&hangup, 1, kSliceMs) <= 0) {
    if (Clock::now() >= deadline) {
      return false;
    }
  }
  return true;
}

}  // namespace flowfs::cli
