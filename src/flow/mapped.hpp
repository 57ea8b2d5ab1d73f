// SPDX-License-Identifier: BSD-3-Clause
// The shared memory of a channel: both ends' segments and status slots, and what the daemon does in
// them for an end in file mode whose peer is in mapped mode (docs/dataplane.md).
//
// Threads: the loop's. Private to Channel.
// Owns: the segments, the slots, the waits on bells.
// Errors: as Channel. Whatever a segment says is checked; a lie poisons this channel and nothing
// else. Invariants, for the direction from W to R (queue: the private one of that direction):
//   1. W and R in file mode: everything unread is in the queue; the lane has been read to its end.
//   2. Only R mapped: the daemon writes the lane; the queue holds what waits for room there.
//   3. Only W mapped: the daemon reads the lane; the queue is empty, and `front` is a copy of the
//      record at the reader's position.
//   4. Both mapped: the daemon holds neither writer nor reader, and the queue is empty.
//   5. A segment that has been attached is replaced when its end is detached.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/loop.hpp"
#include "flow/channel.hpp"
#include "flow/message_queue.hpp"
#include "pool/bell.hpp"
#include "pool/fault_guard.hpp"
#include "pool/lane.hpp"
#include "pool/segment.hpp"
#include "pool/status.hpp"

namespace flowfs::flow {

class Mapped {
 public:
  static Result<std::unique_ptr<Mapped>> make(Channel& channel, const MappedSetup& setup);
  ~Mapped();
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;

  // Both ends have a segment afterwards. Errors: those of Segment::create.
  Status ensure_segments();
  [[nodiscard]] Result<SegmentView> segment(Side side) const;
  void close_segment_fd(Side side);
  [[nodiscard]] std::size_t segment_bytes() const { return geometry_.segment_bytes(); }

  Result<flowfs_attach> attach(Side side);
  Status detach(Side side);
  [[nodiscard]] bool is_mapped(Side side) const { return end(side).mapped; }
  [[nodiscard]] bool is_corrupt() const { return corrupt_; }

  // The data path between a file end and a mapped one.
  WriteOutcome write(Side from, std::span<const std::byte> message);
  Channel::Front front(Side to);
  void consume(Side to, std::size_t bytes);
  // Drops the front, which is not what was sealed.
  void refuse_front(Side to);
  [[nodiscard]] bool readable(Side side);
  [[nodiscard]] bool writable(Side side);

  // The channel's own flags have changed: tell the ends that are mapped.
  void writer_closed(Side side);
  void reader_closed(Side side);
  // Before reader_closed(): counts what the lane holds for `side` as dropped.
  void drop_unread(Side side);
  // Neither direction of `side` is open any more.
  void closed(Side side);

  void set_state(Side side, std::uint32_t state);
  void set_pool(Side side, std::uint64_t serial);
  [[nodiscard]] std::vector<flowfs_block> unread_blocks(Side from);
  [[nodiscard]] EndCounters counters(Side side);
  void wait_for(Side side, Interest interest);
  void stop_waiting(Side side);

 private:
  // A segment that was taken from its owner, kept while a mapped peer reads it to its end.
  struct Retired {
    pool::Segment segment;
    std::uint64_t lane_end;
    std::uint64_t counted;  // as in Lane
  };
  struct End {
    EndIdentity identity;
    std::optional<pool::Segment> segment;
    std::optional<Retired> retired;
    pool::StatusSlot status;
    std::uint64_t last_generation = 0;
    bool mapped = false;
    std::uint64_t pool = 0;  // that it has joined, by serial
    EndCounters counters;    // of its segments before this one
    // Of the next record, while neither a LaneWriter nor a client knows better.
    pool::Position write_position{.hot = 0, .bulk = 0, .sequence = 0};
    // For a file end whose peer is mapped.
    std::optional<pool::Bell> bell;
    std::optional<pool::Sleeper> data_sleeper;
    std::optional<pool::Sleeper> room_sleeper;
    Interest interest;
    Loop::FutexWait wait;
  };
  struct Lane {
    std::optional<pool::LaneWriter> writer;
    std::optional<pool::LaneReader> reader;
    std::optional<pool::CursorPublisher> cursors;  // the reader's
    MessageQueue front;                            // at most one message
    bool front_only = false;                       // which came in a block and is nowhere else
    // Without a writer: the hot position before which every record is in the statistics.
    std::uint64_t counted = 0;
  };

  Mapped(Channel& channel, const MappedSetup& setup, const pool::Geometry& geometry);
  End& end(Side side) { return ends_[static_cast<std::size_t>(side)]; }
  [[nodiscard]] const End& end(Side side) const { return ends_[static_cast<std::size_t>(side)]; }
  Lane& lane(Side from) { return lanes_[static_cast<std::size_t>(from)]; }
  [[nodiscard]] pool::FaultGuard guard() const;
  void check(const pool::FaultGuard& guard);
  void poison();

  Status renew_segment(Side side, std::uint64_t retired_at);
  static void discard(std::optional<pool::Segment>& segment);

  // mapped_attach.cpp
  void speak_for(Side side);
  Status hand_over_sending(Side side, pool::Position& start);
  Status move_queue_into_lane(Side side, pool::Position& start);
  void hand_over_receiving(Side side, pool::Position& start);
  void announce(Side side);
  [[nodiscard]] flowfs_attach describe(Side side, const pool::Position& write,
                                       const pool::Position& read) const;
  void leave(Side side, std::optional<std::uint64_t>& lane_end, pool::Position& read);
  std::optional<std::uint64_t> lane_end_for_mapped_reader(Side from);
  [[nodiscard]] pool::Position cursors_of(Side reader) const;

  // mapped_unread.cpp
  using Visitor = std::function<void(const pool::LaneReader::Record&, bool counted)>;
  bool take_back_sending(Side side);
  bool take_back_receiving(Side side);
  void keep_front(Side from);
  Visitor salvage_into(MessageQueue& queue, Side from);
  static void count_drop(Channel::Direction& direction, const pool::LaneReader::Record& record,
                         bool counted);
  bool visit_present(Side side, const Visitor& each);
  bool visit_retired(Side reader_side, const Visitor& each);
  static bool visit(pool::LaneReader& reader, std::uint64_t counted, const Visitor& each);

  // mapped_blocks.cpp
  static std::size_t message_bytes(const pool::LaneReader::Record& record);
  bool copy_message(Side from, const pool::LaneReader::Record& record, MessageQueue& to);
  void drop_front(Side to, const pool::LaneReader::Record& record);
  void forget_front(Side from);
  void tell_pool();
  void keep_counters(Side side);

  // mapped.cpp
  pool::LaneWriter::Outcome write_record(Side from, std::span<const std::byte> message);
  pool::LaneReader::Outcome take_front(Side to);
  void step_over(Side to);
  void leave_front(Side to, std::size_t record_bytes);
  pool::LaneReader::Outcome look(Side to, pool::LaneReader::Record& record);
  void publish_cursors(Side to);
  void flush(Side from);
  void settle(Side from);

  // mapped_wait.cpp
  void arm(Side side);
  void disarm(Side side);
  void rung(Side side);
  [[nodiscard]] std::size_t room_wanted(Side side) const;
  std::optional<std::uint32_t> begin_sleep(Side side, const std::uint32_t& bell, bool room);
  [[nodiscard]] bool has_room(Side from, std::size_t bytes);
  [[nodiscard]] bool mapped_end_readable(Side side);
  [[nodiscard]] bool mapped_end_writable(Side side);

  Channel* channel_;
  Loop* loop_;
  Listener* listener_;
  BlockSource* blocks_;
  std::uint64_t shared_pool_ = 0;  // as both slots tell it
  pool::Geometry geometry_;
  std::array<End, 2> ends_;
  std::array<Lane, 2> lanes_;
  bool corrupt_ = false;
};

}  // namespace flowfs::flow
