// SPDX-License-Identifier: BSD-3-Clause
// What ping does with a flow, through files or through libflowfs.
//
// Threads: one, the one that Interrupts interrupts.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/result.hpp"

namespace flowfs::cli {

class PingFlow {
 public:
  virtual ~PingFlow() = default;

  // As write(2) and read(2): -1 with errno, EINTR now and then while nothing happens, so that the
  // caller can look at its deadline and at Ctrl-C.
  virtual ssize_t send(std::span<const std::byte> message) = 0;
  virtual ssize_t receive(std::span<std::byte> into) = 0;
  // The same; also EINTR when `most` is over.
  virtual ssize_t receive_within(std::span<std::byte> into, std::chrono::nanoseconds most) = 0;
  [[nodiscard]] virtual bool is_mapped() const = 0;
};

// Errors: of open and flowfs_dial; EINTR `stop` ended the wait.
Result<std::unique_ptr<PingFlow>> dial_file(const std::string& path,
                                            const std::function<bool()>& stop);
// Mapped where it can be, else through files.
Result<std::unique_ptr<PingFlow>> dial_mapped(const std::string& mount, const std::string& name,
                                              const std::function<bool()>& stop);

}  // namespace flowfs::cli
