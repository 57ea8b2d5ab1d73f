// SPDX-License-Identifier: BSD-3-Clause
#include "fs/log_file.hpp"

#include "pool/fault_guard.hpp"

namespace flowfs::fs {

LogFile::~LogFile() {
  ring();
  log_.discard();
}

void LogFile::ring() {
  const pool::FaultGuard guard(log_.bytes());  // a client may write it
  pool::LogWriter::ring(log_.header());
}

Status LogFile::register_at(Backings& backings, Backing* tx) {
  if (backings.handed_out()) {
    return {};
  }
  for (Backing* const one : {&backing_, tx}) {
    if (one == nullptr) {
      continue;
    }
    auto backing = backings.add(log_.fd().get());
    if (!backing) {
      return std::unexpected(backing.error());
    }
    *one = std::move(*backing);
  }
  log_.close_fd();
  return {};
}

Result<std::unique_ptr<DirectLog>> DirectLog::make(std::uint64_t ring_bytes, std::uint64_t serial,
                                                   Backings& backings, registry::Charge charge) {
  auto log = pool::Log::create(ring_bytes, 0);
  if (!log) {
    return std::unexpected(log.error());
  }
  std::unique_ptr<DirectLog> made(new DirectLog(std::move(*log), serial, std::move(charge)));
  if (const Status registered = made->register_at(backings, &made->tx_backing_); !registered) {
    return std::unexpected(registered.error());
  }
  return made;
}

}  // namespace flowfs::fs
