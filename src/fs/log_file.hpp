// SPDX-License-Identifier: BSD-3-Clause
// The memory behind buses/BUS/log, whoever writes it.
//
// Threads: the loop's.
// Owns: the memory, its charge, its backings. Whoever still maps it when this goes is woken, reads
// nothing in it any more, and holds no memory by that.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "fs/backings.hpp"
#include "pool/bus_log.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

class LogFile {
 public:
  virtual ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  [[nodiscard]] std::uint64_t generation() const { return log_.generation(); }
  // Of its inode.
  [[nodiscard]] std::uint64_t serial() const { return serial_; }
  [[nodiscard]] std::uint64_t bytes() const { return log_.bytes().size(); }
  [[nodiscard]] std::uint64_t ring_bytes() const { return log_.ring_bytes(); }
  [[nodiscard]] int backing() const { return backing_.id(); }
  // -1 once it was closed, as nobody is handed it.
  [[nodiscard]] int fd() const { return log_.fd().get(); }
  // Wakes who waits for it, as something else has changed.
  void ring();

 protected:
  LogFile(pool::Log log, std::uint64_t serial, registry::Charge charge)
      : charge_(std::move(charge)), log_(std::move(log)), serial_(serial) {}
  // Where files are mapped through the mount: as `log`, and as the `tx` that is given; the memory's
  // descriptor is not needed any more then. Errors: those of Backings::add.
  Status register_at(Backings& backings, Backing* tx);

  registry::Charge charge_;
  pool::Log log_;

 private:
  Backing backing_;
  std::uint64_t serial_;
};

// One that a member writes, and which is its tx too (FLOWFS_BUS_DIRECT).
class DirectLog final : public LogFile {
 public:
  // `serial` names both inodes. Errors: those of Log::create, and of registering it.
  static Result<std::unique_ptr<DirectLog>> make(std::uint64_t ring_bytes, std::uint64_t serial,
                                                 Backings& backings, registry::Charge charge);
  // Of tx.
  [[nodiscard]] int tx_backing() const { return tx_backing_.id(); }
  // What a client can write to: every touch is guarded.
  [[nodiscard]] pool::Log& memory() { return log_; }

 private:
  using LogFile::LogFile;
  Backing tx_backing_;
};

}  // namespace flowfs::fs
