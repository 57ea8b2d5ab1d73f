// SPDX-License-Identifier: BSD-3-Clause
#include "fs/direct_bus.hpp"

#include <algorithm>
#include <utility>

#include "pool/fault_guard.hpp"
#include "pool/shared.hpp"

namespace flowfs::fs {

using pool::LogReader;

DirectBus::DirectBus(Loop& loop, Buses& buses, LiveBus& live, MappedMember& writer, DirectLog& log)
    : loop_(loop),
      buses_(buses),
      live_(live),
      writer_(writer),
      log_(log),
      reader_(log.memory().bytes(), 0, 0),
      pause_(loop.timer([this] { arm(); })) {}

std::uint64_t DirectBus::floor() const {
  const pool::FaultGuard guard(log_.memory().bytes());
  // acquire, as LogReader::intact.
  return pool::shared(header().floor).load(std::memory_order_acquire);
}

void DirectBus::look() {
  if (lied_ || std::exchange(looking_, true)) {
    return;
  }
  bool honest = false;
  {
    const pool::FaultGuard guard(log_.memory().bytes());
    honest = log_.memory().is_intact() && read_on() && count() && !guard.faulted();
  }
  looking_ = false;
  if (!honest) {
    lied_ = true;
    writer_.lie();
  }
  for (const auto& [port, member] : live_.mapped) {
    member->count_apart(sequence_);
  }
}

// Up to the tail as it is now, and over no more than the ring holds: however fast the tail moves,
// and whatever is laid down meanwhile, this ends. False: it lies.
bool DirectBus::read_on() {
  // seq_cst, pairs with LogWriter::publish.
  const std::uint64_t tail = pool::shared(header().tail).load(std::memory_order_seq_cst);
  if (tail < reader_.position()) {
    return false;
  }
  if (!copies_) {
    reader_.skip_to_newest();
  }
  LogReader::Record record;
  while (reader_.position() < tail) {
    const LogReader::Outcome found = reader_.peek(record);
    if (found != LogReader::Outcome::record) {
      return found == LogReader::Outcome::empty;
    }
    // A reader that was overtaken may be past the tail as it was.
    const std::uint64_t left = tail - std::min(tail, reader_.position());
    if (left > log_.ring_bytes() || record.payload.size() > writer_.mtu_bytes() ||
        record.origin != writer_.origin()) {
      return false;
    }
    if (!copies_ || copy(record)) {
      reader_.pop();
    }
  }
  return true;
}

// False: it was overtaken meanwhile.
bool DirectBus::copy(const LogReader::Record& record) {
  const std::size_t bytes = record.payload.size();
  scratch_.resize(std::max(scratch_.size(), bytes));
  const std::span<std::byte> whole = std::span(scratch_).first(bytes);
  if (!reader_.copy(whole)) {
    return false;
  }
  if (const std::uint64_t missed = reader_.lost() - lost_; missed != 0) {
    live_.data.miss(writer(), missed);
    lost_ += missed;
  }
  const std::uint64_t begin = reader_.position();
  buses_.copy(live_, writer(), whole,
              {.begin = begin, .end = begin + pool::log_cost(bytes), .sequence = record.sequence});
  return true;
}

// False: what was read cannot be.
bool DirectBus::count() {
  const std::uint64_t sequence = reader_.sequence();
  const std::uint64_t moved = reader_.position() - position_;
  if (sequence == FLOWFS_SEQUENCE_ANY || !reader_.knows_sequence()) {
    return true;  // overtaken at the end of this look: the next one tells
  }
  if (sequence < sequence_ || sequence - sequence_ > moved / pool::log_cost(1)) {
    return false;
  }
  // relaxed: a figure that stands for itself.
  const std::uint64_t told = pool::shared(header().sent_bytes).load(std::memory_order_relaxed);
  const std::uint64_t bytes = std::min(std::max(told, bytes_) - bytes_, moved);
  live_.data.count_sent(writer(), sequence - sequence_, bytes);
  position_ += moved;
  sequence_ = sequence;
  bytes_ += bytes;
  return true;
}

void DirectBus::review() {
  const registry::BusInfo& bus = *buses_.registry().find(live_.id);
  // All that are mapped but the writer receive, and it does not.
  const bool wanted =
      live_.captures.wanted() || bus.settings.history > 0 || bus.readers + 1 > live_.mapped.size();
  if (std::exchange(copies_, wanted) != wanted) {
    lost_ = reader_.lost();
    pause_.disarm();
  }
  if (pause_.deadline() == kNever) {
    arm();
  }
}

void DirectBus::hurry() {
  pause_.disarm();
  arm();
}

// --- waiting ---

void DirectBus::arm() {
  if (lied_ || looking_ || wait_.pending()) {
    return;
  }
  const pool::FaultGuard guard(log_.memory().bytes());
  const flowfs_log& log = header();
  // acquire: taken before the look at the tail, so that a ring that answers what it misses changes
  // it.
  const std::uint32_t bell = pool::shared(log.bell).load(std::memory_order_acquire);
  const bool ready = pool::shared(log.tail).load(std::memory_order_seq_cst) != position_;
  // A value the bell has already left makes the wait end at once, in the loop and not in here.
  wait_ = loop_.futex_wait(pool::futex_word(log.bell), ready ? bell - 1 : bell,
                           log_.memory().mapping(), [this] { rung(); });
}

void DirectBus::rung() {
  look();
  if (copies_) {
    arm();
  } else {
    pause_.arm(later(Clock::now(), kPause));
  }
}

}  // namespace flowfs::fs
