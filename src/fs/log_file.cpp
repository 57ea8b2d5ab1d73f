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

Status LogFile::register_at(Backings& backings) {
  auto backing = backings.add(log_.fd().get());
  if (!backing) {
    return std::unexpected(backing.error());
  }
  backing_ = std::move(*backing);
  return {};
}

Result<std::unique_ptr<DirectLog>> DirectLog::make(std::uint64_t ring_bytes, std::uint64_t serial,
                                                   Backings& backings, registry::Charge charge) {
  auto log = pool::Log::create(ring_bytes, 0);
  if (!log) {
    return std::unexpected(log.error());
  }
  std::unique_ptr<DirectLog> made(new DirectLog(std::move(*log), serial, std::move(charge)));
  if (!backings.handed_out()) {
    auto tx = backings.add(made->log_.fd().get());
    if (!tx) {
      return std::unexpected(tx.error());
    }
    made->tx_backing_ = std::move(*tx);
    if (const Status registered = made->register_at(backings); !registered) {
      return std::unexpected(registered.error());
    }
    made->log_.close_fd();
  }
  return made;
}

}  // namespace flowfs::fs
