// SPDX-License-Identifier: BSD-3-Clause
// A bus whose only sender writes the log itself (FLOWFS_BUS_DIRECT), as the daemon sees it: one
// more reader of that log, which copies what it finds for members that are files, and counts.
//
// Where only mapped members read, nothing is copied and the newest record tells how many there
// were; it is looked at when somebody asks, when somebody polls, and else not oftener than kPause.
//
// Threads: the loop's.
// Errors: whatever the log says is checked. A lie costs its writer the port, and with it the log.
// Invariants:
//   1. What is counted as sent has been seen in the log, or its number has.
#pragma once

#include <cstdint>
#include <vector>

#include "base/loop.hpp"
#include "fs/buses.hpp"
#include "fs/log_file.hpp"
#include "fs/mapped_member.hpp"

namespace flowfs::fs {

class DirectBus {
 public:
  static constexpr Micros kPause{10'000};

  // `writer` is attached, and outlives it with `log`.
  DirectBus(Loop& loop, Buses& buses, LiveBus& live, MappedMember& writer, DirectLog& log);

  // Counts, and copies, all that has been sent.
  void look();
  // Whether copies are wanted may have changed.
  void review();
  // Somebody polls: he is to be told of the next message at once.
  void hurry();

  [[nodiscard]] DirectLog& log() const { return log_; }
  [[nodiscard]] bus::PortId writer() const { return writer_.port(); }
  // Behind what has been seen: the place, and the number of the next record.
  [[nodiscard]] std::uint64_t position() const { return position_; }
  [[nodiscard]] std::uint64_t sequence() const { return sequence_; }
  // What lies before it is overwritten.
  [[nodiscard]] std::uint64_t floor() const;

 private:
  [[nodiscard]] const flowfs_log& header() const { return log_.memory().header(); }
  bool read_on();
  bool copy(const pool::LogReader::Record& record);
  bool count();
  void arm();
  void rung();

  Loop& loop_;
  Buses& buses_;
  LiveBus& live_;
  MappedMember& writer_;
  DirectLog& log_;
  pool::LogReader reader_;
  std::vector<std::byte> scratch_;
  std::uint64_t position_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t bytes_ = 0;  // sent, as far as they were counted
  std::uint64_t lost_ = 0;   // of reader_.lost(), what was told to the bus
  bool copies_ = false;      // somebody wants them
  bool looking_ = false;
  bool lied_ = false;
  Loop::FutexWait wait_;
  Loop::Timer pause_;
};

}  // namespace flowfs::fs
