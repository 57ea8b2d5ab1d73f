// SPDX-License-Identifier: BSD-3-Clause
// The `events` stream: what happened in the registry, a line each.
//
// The log is bounded; a reader that falls behind gets one marker line that says how many lines it
// lost and goes on with the oldest kept. Each descriptor has its own position, which begins at its
// open, and where the log goes with its object (a bus), the file ends. Line: `SECONDS.MICROS KIND
// OBJECT uid=UID [key=value ...]`. Threads: the loop's.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_set>

#include "fs/file.hpp"
#include "fs/parking.hpp"
#include "registry/types.hpp"

namespace flowfs::fs {

class EventFile;

class EventLog {
 public:
  static constexpr std::size_t kKept = 4096;  // lines

  explicit EventLog(std::size_t kept = kKept) : kept_(kept) {}
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  void publish(const registry::Event& event);
  [[nodiscard]] std::uint64_t published() const { return next_; }

 private:
  friend class EventFile;
  std::size_t kept_;
  std::deque<std::string> lines_;
  std::uint64_t next_ = 0;  // number of the next line; lines_.back() is next_ - 1
  std::unordered_set<EventFile*> readers_;
};

class EventFile : public File {
 public:
  EventFile(EventLog& log, Parking& parking, Replies& replies, Node node, int flags);
  ~EventFile() override;

  void read(Request request, std::size_t size, const Transfer& transfer) override;
  unsigned ready() override;
  void on_published();
  void on_log_gone();

 private:
  bool next_record();
  void answer(Request request, std::size_t size);

  EventLog* log_;  // null: its object has been removed, and the file has ended
  Parking& parking_;
  std::uint64_t position_;
  std::string record_;     // being read
  std::size_t taken_ = 0;  // of record_
  Waits readers_;
};

}  // namespace flowfs::fs
