// SPDX-License-Identifier: BSD-3-Clause
// buses/BUS/log: what the members of a bus that are mapped read, written by the daemon.
//
// It exists while there are such members. Its room is the depth of the bus and two of its longest
// messages, which is what the bus may keep, and ask to be laid down.
//
// Threads: the loop's.
// Owns: the memory, its charge, its backing.
#pragma once

#include <cstdint>
#include <memory>

#include "bus/shared_log.hpp"
#include "fs/backings.hpp"
#include "pool/bus_log.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

class BusLog final : public bus::SharedLog {
 public:
  // `serial` names its inode. Errors: those of Log::create, and of registering it.
  static Result<std::unique_ptr<BusLog>> make(std::uint64_t ring_bytes, std::uint64_t generation,
                                              std::uint64_t serial, Backings& backings,
                                              registry::Charge charge);
  ~BusLog() override;

  Extent append(bus::PortId from, std::span<const std::byte> message) override;
  void give_up_to(std::uint64_t position) override { writer_.give_up_to(position); }
  [[nodiscard]] std::span<const std::byte> message(std::uint64_t begin,
                                                   std::size_t length) const override;
  [[nodiscard]] std::uint64_t end() const override { return writer_.position(); }

  // Shows what was laid down, and wakes who waits for it.
  void show();
  // Wakes them because something else has changed.
  void ring() { writer_.ring(); }

  // In the records of `port`.
  static std::uint32_t origin_of(bus::PortId port);
  [[nodiscard]] std::uint64_t generation() const { return log_.generation(); }
  [[nodiscard]] std::uint64_t serial() const { return serial_; }
  [[nodiscard]] std::uint64_t bytes() const { return log_.bytes().size(); }
  [[nodiscard]] std::uint64_t ring_bytes() const { return log_.ring_bytes(); }
  [[nodiscard]] int backing() const { return backing_.id(); }
  // -1 once it was closed, as nobody is handed it.
  [[nodiscard]] int fd() const { return log_.fd().get(); }

 private:
  BusLog(pool::Log log, std::uint64_t serial, registry::Charge charge)
      : charge_(std::move(charge)), log_(std::move(log)), writer_(log_.bytes()), serial_(serial) {}

  registry::Charge charge_;
  pool::Log log_;
  pool::LogWriter writer_;
  Backing backing_;
  std::uint64_t serial_;
  std::uint64_t shown_ = 0;
};

}  // namespace flowfs::fs
