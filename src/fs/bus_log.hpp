// SPDX-License-Identifier: BSD-3-Clause
// buses/BUS/log: what the members of a bus that are mapped read, written by the daemon.
//
// It exists while there are such members. Its room is the depth of the bus and two of its longest
// messages, which is what the bus may keep, and ask to be laid down.
//
// Threads: the loop's.
#pragma once

#include <cstdint>
#include <memory>

#include "bus/shared_log.hpp"
#include "fs/log_file.hpp"

namespace flowfs::fs {

class BusLog final : public LogFile, public bus::SharedLog {
 public:
  // `serial` names its inode. Errors: those of Log::create, and of registering it.
  static Result<std::unique_ptr<BusLog>> make(std::uint64_t ring_bytes, std::uint64_t generation,
                                              std::uint64_t serial, Backings& backings,
                                              registry::Charge charge);

  Extent append(bus::PortId from, std::span<const std::byte> message) override;
  [[nodiscard]] bool has_room(std::size_t bytes) const override { return writer_.has_room(bytes); }
  void give_up_to(std::uint64_t position) override { writer_.give_up_to(position); }
  [[nodiscard]] std::span<const std::byte> message(std::uint64_t begin,
                                                   std::size_t length) const override;
  [[nodiscard]] std::uint64_t end() const override { return writer_.position(); }
  [[nodiscard]] std::uint64_t sequence() const override { return writer_.sequence(); }

  // Shows what was laid down, and wakes who waits for it.
  void show();
  // Readers of the log before this one go on here, behind what they have read there.
  void begin_here();

  // In the records of `port`.
  static std::uint32_t origin_of(bus::PortId port);

 private:
  BusLog(pool::Log log, std::uint64_t serial, registry::Charge charge)
      : LogFile(std::move(log), serial, std::move(charge)), writer_(log_.bytes()) {}

  pool::LogWriter writer_;
  std::uint64_t shown_ = 0;
};

}  // namespace flowfs::fs
