// SPDX-License-Identifier: BSD-3-Clause
// What a bus knows of the memory that its mapped members read: a log that holds each message once,
// and how far each of them says that it has come.
//
// Threads: the bus's. Called from inside the bus's calls; nothing here may call the bus.
// Units: bytes ever laid into the log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "bus/member.hpp"

namespace flowfs::bus {

class SharedLog {
 public:
  struct Extent {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t sequence = 0;  // the number of the message in that log
  };

  SharedLog() = default;
  virtual ~SharedLog() = default;
  SharedLog(const SharedLog&) = delete;
  SharedLog& operator=(const SharedLog&) = delete;

  // Lays down a message behind the others; members see it when the log's owner shows it. There is
  // room for what the bus keeps and one message more. Throws std::bad_alloc, and has changed
  // nothing.
  virtual Extent append(PortId from, std::span<const std::byte> message) = 0;
  // Whether a message of so many bytes could be laid down now.
  [[nodiscard]] virtual bool has_room(std::size_t bytes) const = 0;
  // What lies before `position`, where a message begins or the log ends, is not kept any more.
  virtual void give_up_to(std::uint64_t position) = 0;
  // The message of `length` that was laid down at `begin`, and is kept.
  [[nodiscard]] virtual std::span<const std::byte> message(std::uint64_t begin,
                                                           std::size_t length) const = 0;
  // Behind the last message, and the number of the next one.
  [[nodiscard]] virtual std::uint64_t end() const = 0;
  [[nodiscard]] virtual std::uint64_t sequence() const = 0;
};

// A member that reads there by itself.
class MappedReader {
 public:
  MappedReader() = default;
  virtual ~MappedReader() = default;
  MappedReader(const MappedReader&) = delete;
  MappedReader& operator=(const MappedReader&) = delete;

  // What it says of the log, since it was mapped. None is ever less than before.
  struct Said {
    std::uint64_t position = 0;  // everything before it is behind the reader
    std::uint64_t lost = 0;      // messages there that it has not read: overtaken, or skipped
    std::uint64_t bytes = 0;     // of those that it has
  };
  virtual Said said() = 0;
  // Somebody waits for it to read: Bus::has_read() is wanted, later, when it has.
  virtual void await() = 0;
};

}  // namespace flowfs::bus
