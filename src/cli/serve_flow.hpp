// SPDX-License-Identifier: BSD-3-Clause
// One flow of `flowctl serve`, without a thread of its own.
//
// Shape: pending (opened, no client yet) -> up -> ended. The caller watches `wanted()` on `fd()`
// and calls proceed() when something of it, POLLHUP or POLLERR comes. Owns: the descriptor; the
// flow ends when this is destroyed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "cli/commands.hpp"
#include "cli/serve_report.hpp"

namespace flowfs::cli {

class ServedFlow {
 public:
  enum class [[nodiscard]] Outcome {
    pending,  // no client yet
    going_on,
    ended,   // the peer or the count ended it
    failed,  // error() says why
  };

  // `scratch` is shared by all flows of a server and only used within proceed().
  ServedFlow(Fd fd, const ServeOptions& options, std::vector<std::byte>& scratch);

  // Does what can be done without waiting, but not for ever: others want their turn.
  Outcome proceed(std::uint32_t ready);

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::uint32_t wanted() const;  // EPOLLIN, EPOLLOUT
  [[nodiscard]] bool is_up() const { return up_; }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] const Traffic& traffic() const { return traffic_; }
  [[nodiscard]] int error() const { return error_; }

 private:
  Outcome receive();  // one message
  Outcome send();     // what is in outgoing_
  Outcome turn();
  [[nodiscard]] bool count_reached() const {
    return options_.count != 0 && traffic_.messages >= options_.count;
  }

  Fd fd_;
  const ServeOptions& options_;
  std::vector<std::byte>& scratch_;
  std::vector<std::byte> outgoing_;  // echo: the message under way; source: what is sent
  Traffic traffic_;
  std::uint64_t id_ = 0;
  int error_ = 0;
  bool up_ = false;
  bool sending_ = false;  // outgoing_ waits for room
  bool blocked_ = false;  // the last call found nothing to do
};

// How a role opens `accept`: it only takes the direction that it uses.
int open_flags(ServeRole role);

}  // namespace flowfs::cli
