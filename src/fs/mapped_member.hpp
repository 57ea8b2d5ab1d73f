// SPDX-License-Identifier: BSD-3-Clause
// A member of a bus in mapped mode: its segment, from which its messages are taken, and how far it
// says that it has read the log of the bus. Of the only sender of a bus tx may be that log itself
// (DirectBus).
//
// Life: made when its tx is looked up; has a segment from the first open of that; attached from
// FLOWFS_IOC_BUS until that tx is closed, after which tx is another's. Its port may go before.
// Threads: the loop's.
// Errors: whatever the segment says is checked. A lie costs this member its port, and nobody else
// anything: on_lie().
// Invariants:
//   1. It is attached only with a port; without one nothing is believed, and the slot says so.
//   2. What the bus has taken of the lane is told in the slot, every quarter ring, and when the
//      lane is empty.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/loop.hpp"
#include "bus/shared_log.hpp"
#include "fs/apart_tally.hpp"
#include "fs/backings.hpp"
#include "fs/buses.hpp"
#include "fs/log_file.hpp"
#include "pool/bell.hpp"
#include "pool/fault_guard.hpp"
#include "pool/lane.hpp"
#include "pool/status.hpp"

namespace flowfs::fs {

class MappedMember final : public bus::MappedReader {
 public:
  using Callback = std::function<void(bus::PortId)>;
  // `serial` names the inode of its tx. `on_lie` and `on_silent` run inside calls on the bus; the
  // second where stop_sending() has become true.
  MappedMember(Loop& loop, Buses& buses, const registry::Port& port, std::uint64_t serial,
               Callback on_lie, Callback on_silent);
  ~MappedMember() override;

  // What tx shows. Errors: those of Segment::create and of registering it.
  static Result<pool::Geometry> geometry(const registry::BusSettings& settings,
                                         registry::Rights rights, std::size_t hot_ring_bytes);
  Status make_segment(const pool::Geometry& geometry, Backings& backings, registry::Charge charge);
  // Instead: a log that it may write. Errors: those of DirectLog::make.
  Status make_log(std::uint64_t ring_bytes, std::uint64_t mtu_bytes, Backings& backings,
                  registry::Charge charge);
  [[nodiscard]] bool has_memory() const { return segment_.has_value() || is_direct(); }
  // Of the segment or the log, one of which there is.
  [[nodiscard]] std::uint64_t memory_bytes() const {
    return is_direct() ? direct_log_->bytes() : segment_->bytes().size();
  }

  // The log is there, where it receives. Errors: those of StatusFile::allocate.
  Result<flowfs_bus_attach> attach(pool::StatusFile& statuses);
  // What that gave is given back, as nothing came of it.
  void abandon() { slot_.reset(); }
  [[nodiscard]] bool is_attached() const { return static_cast<bool>(slot_); }
  // Takes what is in the lane, as far as there is room for it; it gets no more.
  void finish();
  // Its port is a file's again.
  void detach();
  // What follows what is in the lane now is not sent, and it is told so. Whether all of that has
  // been sent.
  bool stop_sending();
  // That is not so yet.
  [[nodiscard]] bool is_ending() const { return lane_end_.has_value(); }
  // It is told that it has read the last message; what it had read is counted.
  void stop_receiving();
  // It has given that up: nobody waits for it to read.
  void rest();
  // Its port has gone, and everything that it said is over.
  void port_gone();

  // --- that writes the log itself
  [[nodiscard]] bool is_direct() const { return direct_log_ != nullptr; }
  [[nodiscard]] DirectLog& log() const { return *direct_log_; }
  std::unique_ptr<DirectLog> take_log() { return std::move(direct_log_); }
  [[nodiscard]] std::uint64_t mtu_bytes() const { return mtu_bytes_; }
  // Of its records.
  [[nodiscard]] std::uint32_t origin() const { return BusLog::origin_of(port_); }
  // It has broken the rules.
  void lie();

  // --- that reads a log which the bus does not write
  // The log of `start` follows the one that it reads, which ends at `retired_at`.
  void read_apart(const ApartTally::Start& start, std::uint64_t retired_at);
  // `sent` is the number of the next record there, as far as the bus has seen it.
  void count_apart(std::uint64_t sent);
  // That was the last one. From there it goes on in the log of the bus, from its end.
  void read_shared(std::uint64_t retired_at, std::uint64_t sent);
  // Counts what it has read since then of what came before.
  void refresh();
  // What it has not read of the log before it never will.
  void forget_former();
  // Whether it reads the present log.
  [[nodiscard]] bool has_gone_over();

  // A message fits, or so it is said.
  void on_room();
  // Whether the bus has taken all that there was room for.
  [[nodiscard]] bool is_blocked() const { return blocked_ && !is_ending(); }
  // Messages of its lane that the bus could not keep.
  [[nodiscard]] std::uint64_t refused() const { return refused_; }

  [[nodiscard]] bus::PortId port() const { return port_; }
  // Null where the port has gone.
  [[nodiscard]] LiveBus* live() const { return live_; }
  [[nodiscard]] std::uint64_t serial() const { return serial_; }
  [[nodiscard]] int backing() const {
    return is_direct() ? direct_log_->tx_backing() : backing_.id();
  }
  [[nodiscard]] int fd() const { return is_direct() ? direct_log_->fd() : segment_->fd().get(); }

  Said said() override;
  void await() override;

 private:
  std::uint64_t begin_shared(std::uint64_t retired_at);
  [[nodiscard]] pool::FaultGuard guard() const { return pool::FaultGuard(segment_->bytes()); }
  void check(const pool::FaultGuard& guard);
  void attach_reader(flowfs_bus_attach& answer);
  void attach_sender(flowfs_bus_attach& answer);
  std::uint64_t begin_apart();
  void serve();
  bool take_one();
  void show_taken();
  bool end_lane();
  void arm();
  void disarm();
  void rung();
  [[nodiscard]] bool has_something();

  Loop& loop_;
  Buses& buses_;
  LiveBus* live_;  // null: its port has gone
  bus::PortId port_;
  registry::Opener opener_;
  registry::Rights rights_;
  std::uint32_t number_;
  std::uint64_t serial_;
  Callback on_lie_;
  Callback on_silent_;
  registry::Charge charge_;
  pool::Geometry geometry_;
  std::optional<pool::Segment> segment_;
  Backing backing_;
  std::unique_ptr<DirectLog> direct_log_;
  std::uint64_t mtu_bytes_ = 0;
  pool::StatusSlot slot_;
  std::optional<pool::LaneReader> lane_;
  std::optional<std::uint64_t> lane_end_;  // where it has been ended; and no lane once all is taken
  std::optional<pool::CursorPublisher> taken_;
  std::optional<pool::Bell> bell_;
  std::optional<pool::Sleeper> data_sleeper_;
  std::optional<pool::Sleeper> room_sleeper_;
  Loop::FutexWait wait_;
  std::uint64_t log_generation_ = 0;
  Said said_;
  std::optional<ApartTally> apart_;
  std::optional<std::uint64_t> apart_end_;  // the log that it counts has been retired
  std::uint64_t refused_ = 0;
  bool awaited_ = false;
  bool blocked_ = false;  // a message of its lane waits for room
  bool lied_ = false;
};

}  // namespace flowfs::fs
