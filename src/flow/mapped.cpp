// SPDX-License-Identifier: BSD-3-Clause
// The data path between a file end and a mapped one, and the news between them.
#include "flow/mapped.hpp"

#include <algorithm>
#include <utility>

#include "pool/shared.hpp"

namespace flowfs::flow {

using pool::LaneReader;
using pool::LaneWriter;

Result<std::unique_ptr<Mapped>> Mapped::make(Channel& channel, const MappedSetup& setup) {
  static const Status installed = pool::FaultGuard::install();
  if (!installed) {
    return std::unexpected(installed.error());
  }
  const Limits& limits = channel.limits();
  const auto geometry =
      pool::Geometry::plan(limits.record_bytes(), limits.depth_bytes, setup.hot_ring_bytes);
  if (!geometry) {
    return std::unexpected(geometry.error());
  }
  std::unique_ptr<Mapped> made(new Mapped(channel, setup, *geometry));
  for (const Side side : {Side::client, Side::server}) {
    End& end = made->end(side);
    if (end.identity.status == nullptr) {
      continue;
    }
    auto slot = end.identity.status->allocate(end.identity.flow);
    if (!slot) {
      return std::unexpected(slot.error());
    }
    end.status = std::move(*slot);
    const EndIdentity& peer = made->end(other(side)).identity;
    end.status.set_peer({.flow = peer.flow, .uid = peer.uid, .gid = peer.gid, .pid = peer.pid});
  }
  if (const Status segments = made->ensure_segments(); !segments) {
    return std::unexpected(segments.error());
  }
  return made;
}

Mapped::Mapped(Channel& channel, const MappedSetup& setup, const pool::Geometry& geometry)
    : channel_(&channel),
      loop_(setup.loop),
      listener_(setup.listener),
      blocks_(setup.blocks),
      geometry_(geometry) {
  end(Side::client).identity = setup.ends[0];
  end(Side::server).identity = setup.ends[1];
}

Mapped::~Mapped() {
  for (End& end : ends_) {
    discard(end.segment);
    if (end.retired) {
      end.retired->segment.discard();
    }
  }
}

Status Mapped::ensure_segments() {
  for (const Side side : {Side::client, Side::server}) {
    if (!end(side).segment) {
      if (const Status made = renew_segment(side, FLOWFS_LANE_OPEN); !made) {
        return made;
      }
    }
  }
  return {};
}

Result<SegmentView> Mapped::segment(Side side) const {
  const auto& segment = end(side).segment;
  if (!segment) {
    return fail(ENOENT, "segment");
  }
  return SegmentView{
      .fd = segment->fd().get(), .generation = segment->generation(), .bytes = segment_bytes()};
}

void Mapped::close_segment_fd(Side side) {
  if (auto& segment = end(side).segment; segment) {
    segment->close_fd();
  }
}

Status Mapped::renew_segment(Side side, std::uint64_t retired_at) {
  End& end = this->end(side);
  auto made = pool::Segment::create(geometry_, end.identity.flow,
                                    pool::Generation{end.last_generation + 1});
  if (!made) {
    return std::unexpected(made.error());
  }
  ++end.last_generation;
  end.segment.emplace(std::move(*made));
  end.write_position = {.hot = 0, .bulk = 0, .sequence = 0};
  if (pool::StatusSlot& slot = this->end(other(side)).status) {
    slot.renew_lane(end.segment->generation(), retired_at);
  }
  return {};
}

void Mapped::discard(std::optional<pool::Segment>& segment) {
  if (segment) {
    segment->discard();
    segment.reset();
  }
}

pool::FaultGuard Mapped::guard() const {
  const auto bytes = [](const std::optional<pool::Segment>& segment) {
    return segment ? std::span<const std::byte>(segment->bytes()) : std::span<const std::byte>();
  };
  return pool::FaultGuard(bytes(ends_[0].segment), bytes(ends_[1].segment));
}

void Mapped::check(const pool::FaultGuard& guard) {
  if (guard.faulted()) {
    poison();
  }
}

// The flow is given up: EPROTO from now on, for both ends, and nobody sleeps through it.
void Mapped::poison() {
  if (std::exchange(corrupt_, true)) {
    return;
  }
  for (End& end : ends_) {
    if (end.status) {
      end.status.add_flags(FLOWFS_STATUS_CORRUPT);
    }
  }
  const auto guard = this->guard();  // for the bells alone; there is nothing left to spoil
  for (End& end : ends_) {
    if (end.segment) {
      pool::Bell::ring(end.segment->header());
    }
  }
}

// --- the data path ---

WriteOutcome Mapped::write(Side from, std::span<const std::byte> message) {
  flush(from);
  if (corrupt_) {
    return WriteOutcome::corrupt;
  }
  if (!channel_->from(from).queue.empty()) {
    return WriteOutcome::full;
  }
  const auto guard = this->guard();
  // acquire: the peer's own word, which it never clears.
  const std::uint32_t peer_shutdown =
      pool::shared(end(other(from)).segment->header().shutdown).load(std::memory_order_acquire);
  if ((peer_shutdown & FLOWFS_SHUT_RECEIVE) != 0) {
    return WriteOutcome::closed;
  }
  const LaneWriter::Outcome outcome = write_record(from, message);
  if (outcome == LaneWriter::Outcome::ok) {
    end(from).bell->wake_data();
    channel_->from(from).count(message.size());
  } else if (outcome == LaneWriter::Outcome::corrupt) {
    poison();
  }
  check(guard);
  if (corrupt_) {
    return WriteOutcome::corrupt;
  }
  return outcome == LaneWriter::Outcome::ok ? WriteOutcome::ok : WriteOutcome::full;
}

LaneWriter::Outcome Mapped::write_record(Side from, std::span<const std::byte> message) {
  LaneWriter& writer = *lane(from).writer;
  std::optional<Sealing>& sealing = channel_->from(from).sealing;
  if (!sealing) {
    return writer.write(message);
  }
  const LaneWriter::Outcome outcome = writer.stage_filled(
      message.size() + Sealing::kOverhead,
      [&](std::span<std::byte> record) { return sealing->seal(message, record); });
  writer.publish();
  return outcome;
}

Channel::Front Mapped::front(Side to) {
  MessageQueue& front = lane(other(to)).front;
  if (front.empty()) {
    const auto guard = this->guard();
    const LaneReader::Outcome outcome = take_front(to);
    check(guard);
    if (corrupt_) {
      forget_front(other(to));
      return {.outcome = ReadOutcome::corrupt, .rest = {}, .begun = false};
    }
    if (outcome != LaneReader::Outcome::record) {
      const bool end = outcome == LaneReader::Outcome::end;
      return {.outcome = end ? ReadOutcome::end : ReadOutcome::empty, .rest = {}, .begun = false};
    }
  }
  return {.outcome = ReadOutcome::ok, .rest = front.front_rest(), .begun = front.front_begun()};
}

// Copies the first message that there is into private memory: what the reader is given no longer
// changes under it, and a page that has gone is our fault to handle and not the kernel's in the
// middle of a reply.
LaneReader::Outcome Mapped::take_front(Side to) {
  Lane& lane = this->lane(other(to));
  const std::uint64_t begin = lane.reader->position().hot;
  LaneReader::Record record;
  LaneReader::Outcome outcome{};
  while ((outcome = look(to, record)) == LaneReader::Outcome::record) {
    if (copy_message(other(to), record, lane.front)) {
      lane.front_only = record.block.has_value();
      break;
    }
    drop_front(to, record);
    if (lane.reader->position().hot - begin > geometry_.hot_bytes) {
      return LaneReader::Outcome::empty;  // a writer of nothing but lies waits its turn
    }
  }
  return outcome;
}

void Mapped::consume(Side to, std::size_t bytes) {
  Lane& lane = this->lane(other(to));
  const std::size_t length = lane.front.payload_bytes();
  lane.front.consume(bytes);
  if (!lane.front.empty()) {
    return;
  }
  lane.front_only = false;
  ++channel_->from(other(to)).stats.copies;
  leave_front(to, length);
}

void Mapped::refuse_front(Side to) {
  const std::size_t length = lane(other(to)).front.payload_bytes();
  forget_front(other(to));
  ++channel_->from(other(to)).stats.drops;
  leave_front(to, length);
}

void Mapped::leave_front(Side to, std::size_t record_bytes) {
  const Lane& lane = this->lane(other(to));
  if (lane.reader->position().hot >= lane.counted) {
    channel_->from(other(to)).count_seen(record_bytes);
  }
  const auto guard = this->guard();
  step_over(to);
  check(guard);
}

void Mapped::step_over(Side to) {
  Lane& lane = this->lane(other(to));
  lane.reader->pop();
  if (lane.cursors->due(lane.reader->position())) {
    publish_cursors(to);
  }
}

// What is at the front of the mapped peer's lane; `end` also where the peer has said so itself.
LaneReader::Outcome Mapped::look(Side to, LaneReader::Record& record) {
  Lane& lane = this->lane(other(to));
  LaneReader::Outcome outcome = lane.reader->peek(record);
  if (outcome == LaneReader::Outcome::empty) {
    publish_cursors(to);
    // acquire, pairs with the owner's store behind its last commit: then the second look sees it.
    const auto shutdown =
        pool::shared(end(other(to)).segment->header().shutdown).load(std::memory_order_acquire);
    if ((shutdown & FLOWFS_SHUT_SEND) != 0) {
      outcome = lane.reader->peek(record);
      outcome = outcome == LaneReader::Outcome::empty ? LaneReader::Outcome::end : outcome;
    }
  }
  if (outcome == LaneReader::Outcome::corrupt) {
    poison();
  }
  return outcome;
}

void Mapped::publish_cursors(Side to) {
  Lane& lane = this->lane(other(to));
  if (lane.cursors->behind(lane.reader->position())) {
    lane.cursors->publish(lane.reader->position());
    end(to).bell->wake_room();
  }
}

// Moves what waits in the queue into the lane, as far as there is room.
void Mapped::flush(Side from) {
  MessageQueue& queue = channel_->from(from).queue;
  Lane& lane = this->lane(from);
  if (queue.empty() || !lane.writer || corrupt_) {
    return;
  }
  const auto guard = this->guard();
  LaneWriter::Outcome outcome = LaneWriter::Outcome::ok;
  while (!queue.empty()) {
    outcome = lane.writer->stage(queue.front_whole());
    if (outcome != LaneWriter::Outcome::ok) {
      break;
    }
    queue.pop();
    ++channel_->from(from).stats.copies;
  }
  lane.writer->publish();
  end(from).bell->wake_data();
  if (outcome == LaneWriter::Outcome::corrupt) {
    poison();
  }
  check(guard);
  settle(from);
}

// A file end that sends no more, and whose last message is in the lane, ends the lane there.
void Mapped::settle(Side from) {
  const Channel::Direction& direction = channel_->from(from);
  End& peer = end(other(from));
  if (direction.writer_open || !direction.queue.empty() || !lane(from).writer || !peer.status) {
    return;
  }
  const auto guard = this->guard();
  peer.status.close_lane(lane(from).writer->position().hot);
  pool::Bell::ring(end(from).segment->header());
  check(guard);
}

// --- news ---

void Mapped::writer_closed(Side side) {
  End& me = end(side);
  End& peer = end(other(side));
  if (me.status) {
    me.status.add_flags(FLOWFS_STATUS_MUTE);
  }
  if (corrupt_ || (!me.mapped && !peer.mapped)) {
    return;
  }
  if (!me.mapped) {
    flush(side);
    settle(side);
    arm(side);
    return;
  }
  const auto guard = this->guard();
  std::optional<std::uint64_t> lane_end;
  if (peer.mapped) {
    lane_end = lane_end_for_mapped_reader(side);
  } else if (lane(side).reader) {
    const auto found = pool::find_lane_end(*lane(side).reader);
    lane_end = found ? std::optional(found->hot) : std::nullopt;
  } else {
    return;  // the peer has closed
  }
  if (!lane_end) {
    poison();
  } else if (peer.mapped) {
    peer.status.close_lane(*lane_end);
  } else {
    lane(side).reader->set_end(*lane_end);
  }
  pool::Bell::ring(me.segment->header());
  if (peer.segment) {
    // Where a thread of this end, or a set, waits for room.
    pool::Bell::ring(peer.segment->header());
  }
  check(guard);
}

void Mapped::reader_closed(Side side) {
  End& me = end(side);
  End& peer = end(other(side));
  forget_front(other(side));
  if (peer.status) {
    peer.status.add_flags(FLOWFS_STATUS_PEER_DEAF);
  }
  if (me.mapped) {
    me.status.close_lane(0);  // every position is behind its end
  }
  const auto guard = this->guard();
  // The writer waits for room on this end's bell, the reader for data on the other's.
  for (End* rings : {&me, &peer}) {
    if ((me.mapped || peer.mapped) && rings->segment) {
      pool::Bell::ring(rings->segment->header());
    }
  }
  check(guard);
}

void Mapped::set_state(Side side, std::uint32_t state) {
  if (end(side).status) {
    end(side).status.set_state(state);
  }
  if (end(other(side)).status) {
    end(other(side)).status.set_peer_state(state);
  }
  if (is_mapped(other(side)) && end(side).segment) {
    const auto guard = this->guard();
    pool::Bell::ring(end(side).segment->header());
    check(guard);
  }
}

}  // namespace flowfs::flow
