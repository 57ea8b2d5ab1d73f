// SPDX-License-Identifier: BSD-3-Clause
// Changing hands: from file mode to mapped mode and back, direction by direction.
#include <utility>

#include "flow/mapped.hpp"
#include "pool/shared.hpp"

namespace flowfs::flow {

using pool::CursorPublisher;
using pool::LaneReader;
using pool::LaneWriter;
using pool::Position;

// --- attach ---

Result<flowfs_attach> Mapped::attach(Side side) {
  End& me = end(side);
  if (corrupt_) {
    return fail(EPROTO, "attach");
  }
  if (me.mapped) {
    return fail(EBUSY, "attach");
  }
  if (!me.status) {
    return fail(EPIPE, "attach");
  }
  if (lane(other(side)).front_only) {
    return fail(EAGAIN, "attach");
  }
  if (const Status made = ensure_segments(); !made) {
    return std::unexpected(made.error());
  }
  const auto guard = this->guard();
  Position write{};
  Position read{};
  if (const Status sending = hand_over_sending(side, write); !sending) {
    return std::unexpected(sending.error());
  }
  hand_over_receiving(side, read);
  disarm(side);
  disarm(other(side));
  me.data_sleeper.reset();
  me.room_sleeper.reset();
  me.bell.reset();
  me.mapped = true;
  End& peer = end(other(side));
  if (!peer.mapped) {
    speak_for(other(side));
  }
  flush(other(side));
  settle(other(side));
  arm(other(side));
  announce(side);
  check(guard);
  if (corrupt_) {
    return fail(EPROTO, "attach");
  }
  return describe(side, write, read);
}

// The daemon rings and sleeps in the segment of a file end whose peer is mapped.
void Mapped::speak_for(Side side) {
  End& me = end(side);
  flowfs_segment& header = me.segment->header();
  me.bell.emplace(header, end(other(side)).segment->header());
  me.data_sleeper.emplace(header.sleep_data);
  me.room_sleeper.emplace(header.sleep_room);
}

// Nothing has changed when this fails.
Status Mapped::hand_over_sending(Side side, Position& start) {
  End& me = end(side);
  End& peer = end(other(side));
  Lane& lane = this->lane(side);
  if (!peer.mapped) {
    return move_queue_into_lane(side, start);
  }
  flush(side);
  if (corrupt_) {
    return fail(EPROTO, "attach");
  }
  // acquire: the reader stores it behind cursors that are about this segment.
  const auto followed =
      pool::shared(peer.segment->header().cursors.generation).load(std::memory_order_acquire);
  if (!channel_->from(side).queue.empty() ||
      followed != std::to_underlying(me.segment->generation())) {
    return fail(EAGAIN, "attach");
  }
  if (me.retired) {
    me.retired->segment.discard();
    me.retired.reset();
  }
  start = lane.writer->position();
  lane.counted = start.hot;
  lane.writer.reset();
  return {};
}

// Both ends were in file mode: what this end has sent comes first in its lane, from where the
// daemon reads it for the peer.
Status Mapped::move_queue_into_lane(Side side, Position& start) {
  End& me = end(side);
  End& peer = end(other(side));
  Lane& lane = this->lane(side);
  MessageQueue& queue = channel_->from(side).queue;
  const Position begin = me.write_position;
  lane.cursors.emplace(geometry_, peer.segment->header().cursors, me.segment->generation(), begin);
  LaneWriter writer(geometry_, me.segment->bytes(), peer.segment->bytes(), me.segment->generation(),
                    begin);
  LaneWriter::Outcome outcome = LaneWriter::Outcome::ok;
  queue.visit([&](std::span<const std::byte> message) {
    outcome = writer.stage(message);
    return outcome == LaneWriter::Outcome::ok;
  });
  if (outcome != LaneWriter::Outcome::ok) {
    lane.cursors.reset();  // nothing was published
    if (outcome == LaneWriter::Outcome::corrupt) {
      poison();  // the peer scribbles over a segment it has not even attached
    }
    return fail(corrupt_ ? EPROTO : EAGAIN, "attach");
  }
  writer.publish();
  lane.counted = writer.position().hot;
  lane.reader.emplace(geometry_, me.segment->bytes(), begin);
  if (!queue.empty() && queue.front_begun()) {
    const auto whole = queue.front_whole();
    lane.front.push(whole);
    lane.front.consume(whole.size() - queue.front_rest().size());
    LaneReader::Record record;
    (void)lane.reader->peek(record);  // it is our own: the record `front` is a copy of
  }
  channel_->from(side).stats.copies += queue.count();
  queue.clear();
  start = writer.position();
  return {};
}

void Mapped::hand_over_receiving(Side side, Position& start) {
  End& me = end(side);
  End& peer = end(other(side));
  Lane& lane = this->lane(other(side));
  if (peer.mapped) {
    start = lane.reader->position();  // in front of a message that was read in part
    publish_cursors(side);
    forget_front(other(side));
    lane.reader.reset();
    lane.cursors.reset();
    return;
  }
  start = peer.write_position;
  CursorPublisher(geometry_, me.segment->header().cursors, peer.segment->generation(), start);
  lane.writer.emplace(geometry_, peer.segment->bytes(), me.segment->bytes(),
                      peer.segment->generation(), start);
}

// What happened before the end could hear of it.
void Mapped::announce(Side side) {
  End& me = end(side);
  if (!channel_->from(side).writer_open) {
    me.status.add_flags(FLOWFS_STATUS_MUTE);
  }
  if (!channel_->from(side).reader_open) {
    me.status.add_flags(FLOWFS_STATUS_PEER_DEAF);
  }
  const Channel::Direction& received = channel_->from(other(side));
  if (!received.reader_open) {
    me.status.close_lane(0);
  } else if (!received.writer_open && end(other(side)).mapped) {
    // Shut down before there was a slot to say it in. The lane of a peer in file mode is
    // settle()'s.
    if (const auto lane_end = lane_end_for_mapped_reader(other(side))) {
      me.status.close_lane(*lane_end);
    } else {
      poison();
    }
  }
}

flowfs_attach Mapped::describe(Side side, const Position& write, const Position& read) const {
  const End& me = end(side);
  const End& peer = end(other(side));
  return {.version = FLOWFS_LAYOUT_VERSION,
          .status_slot = me.status.index(),
          .flow = me.identity.flow,
          .peer_flow = peer.identity.flow,
          .generation = std::to_underlying(me.segment->generation()),
          .peer_generation = std::to_underlying(peer.segment->generation()),
          .write = write,
          .read = read,
          .bulk_offset = geometry_.bulk_offset(),
          .bulk_bytes = geometry_.bulk_bytes,
          .hot_offset = static_cast<std::uint32_t>(geometry_.hot_offset()),
          .hot_bytes = geometry_.hot_bytes,
          .inline_bytes = geometry_.inline_bytes,
          .mtu_bytes = geometry_.mtu_bytes,
          .uid = me.identity.uid,
          .overhead_bytes = static_cast<std::uint32_t>(channel_->limits().overhead_bytes)};
}

// --- detach ---

Status Mapped::detach(Side side) {
  End& me = end(side);
  End& peer = end(other(side));
  std::optional<std::uint64_t> lane_end;
  Position read{};
  leave(side, lane_end, read);
  if (corrupt_) {
    discard(me.segment);
    return {};
  }
  if (!peer.mapped) {
    discard(me.segment);
    return {};  // a new one is made when it is needed
  }
  pool::Segment old = std::move(*std::exchange(me.segment, std::nullopt));
  if (const Status made = renew_segment(side, *lane_end); !made) {
    me.segment.emplace(std::move(old));
    poison();
    return made;
  }
  const auto guard = this->guard();
  Lane& sends = lane(side);
  Lane& receives = lane(other(side));
  receives.reader.emplace(geometry_, peer.segment->bytes(), read);
  receives.cursors.emplace(geometry_, me.segment->header().cursors, peer.segment->generation(),
                           read);
  sends.writer.emplace(geometry_, me.segment->bytes(), peer.segment->bytes(),
                       me.segment->generation(), Position{.hot = 0, .bulk = 0, .sequence = 0});
  speak_for(side);
  {
    const pool::FaultGuard old_guard(old.bytes());
    pool::Bell::ring(old.header());  // whoever sleeps on it finds the new generation in its slot
  }
  me.retired.emplace(std::move(old), *lane_end, sends.counted);
  settle(side);
  check(guard);
  return {};
}

// The end has closed for good.
void Mapped::closed(Side side) {
  End& me = end(side);
  End& peer = end(other(side));
  if (me.mapped) {
    std::optional<std::uint64_t> lane_end;
    Position read{};
    leave(side, lane_end, read);
    if (peer.mapped && lane_end && !corrupt_) {
      peer.status.close_lane(*lane_end);
    }
  }
  me.status.reset();
  if (peer.retired) {
    peer.retired->segment.discard();
    peer.retired.reset();
  }
  disarm(side);
  if (peer.mapped && me.segment) {
    const auto guard = this->guard();
    pool::Bell::ring(me.segment->header());
    check(guard);
    arm(side);  // what it wrote as a file may still wait for room
  } else {
    discard(me.segment);
  }
}

// The end `side`, mapped until now, is so no longer. What it had committed goes to the queue of its
// file peer, or ends at `lane_end` for its mapped peer; what its file peer had put into the lane
// and it had not read goes back to the queue; where it stopped reading its mapped peer is `read`.
void Mapped::leave(Side side, std::optional<std::uint64_t>& lane_end, Position& read) {
  End& peer = end(other(side));
  set_pool(side, 0);  // first: no block is sent to this end from here on
  keep_counters(side);
  end(side).mapped = false;
  disarm(side);
  disarm(other(side));
  if (!corrupt_) {
    const auto guard = this->guard();
    if (peer.mapped) {
      lane_end = lane_end_for_mapped_reader(side);
      read = cursors_of(side);
      if (!lane_end) {
        poison();
      }
    } else if (!take_back_sending(side) || !take_back_receiving(side)) {
      poison();
    }
    check(guard);
  }
  if (!peer.mapped) {
    peer.bell.reset();
    peer.data_sleeper.reset();
    peer.room_sleeper.reset();
  }
}

// Where the lane of `from` ends for a reader that is mapped and only shows its cursors.
std::optional<std::uint64_t> Mapped::lane_end_for_mapped_reader(Side from) {
  const End& reader = end(other(from));
  const auto closed_at = reader.status.words().closed_at;
  if (closed_at != FLOWFS_LANE_OPEN) {
    return closed_at;  // said before
  }
  const auto found = pool::find_lane_end(
      LaneReader(geometry_, end(from).segment->bytes(), cursors_of(other(from))));
  return found.transform([](const Position& position) { return position.hot; });
}

// What the end `reader` has published about its peer's present segment: input.
Position Mapped::cursors_of(Side reader) const {
  const flowfs_cursors& cursors = end(reader).segment->header().cursors;
  const pool::Segment& peer = *end(other(reader)).segment;
  // acquire, as in LaneWriter::refresh.
  if (pool::shared(cursors.generation).load(std::memory_order_acquire) !=
      std::to_underlying(peer.generation())) {
    return {.hot = 0, .bulk = 0, .sequence = FLOWFS_SEQUENCE_ANY};
  }
  return {.hot = pool::shared(cursors.hot).load(std::memory_order_acquire),
          .bulk = pool::shared(cursors.bulk).load(std::memory_order_acquire),
          .sequence = FLOWFS_SEQUENCE_ANY};
}

}  // namespace flowfs::flow
