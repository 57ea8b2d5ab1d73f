// SPDX-License-Identifier: BSD-3-Clause
// The data path between a file end and a mapped one, and the news between them.
#include "flow/mapped.hpp"

#include <algorithm>
#include <cstring>
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
      pool::Geometry::plan(limits.mtu_bytes, limits.depth_bytes, setup.hot_ring_bytes);
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
    : channel_(&channel), loop_(setup.loop), listener_(setup.listener), geometry_(geometry) {
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

// --- the data path
// ---------------------------------------------------------------------------------

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
  const LaneWriter::Outcome outcome = lane(from).writer->write(message);
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

Channel::Front Mapped::front(Side to) {
  MessageQueue& front = lane(other(to)).front;
  if (front.empty()) {
    const auto guard = this->guard();
    LaneReader::Record record;
    const LaneReader::Outcome outcome = look(to, record);
    if (outcome == LaneReader::Outcome::record) {
      // One copy into private memory: what the reader is given no longer changes under it, and a
      // page that has gone is our fault to handle and not the kernel's in the middle of a reply.
      const std::span<std::byte> copy = front.push_uninitialised(record.payload.size());
      std::memcpy(copy.data(), record.payload.data(), copy.size());
    }
    check(guard);
    if (corrupt_) {
      front.clear();
      return {.outcome = ReadOutcome::corrupt, .rest = {}, .begun = false};
    }
    if (outcome != LaneReader::Outcome::record) {
      const bool end = outcome == LaneReader::Outcome::end;
      return {.outcome = end ? ReadOutcome::end : ReadOutcome::empty, .rest = {}, .begun = false};
    }
  }
  return {.outcome = ReadOutcome::ok, .rest = front.front_rest(), .begun = front.front_begun()};
}

void Mapped::consume(Side to, std::size_t bytes) {
  Lane& lane = this->lane(other(to));
  const std::size_t length = lane.front.payload_bytes();
  lane.front.consume(bytes);
  if (!lane.front.empty()) {
    return;
  }
  channel_->from(other(to)).count(length);
  const auto guard = this->guard();
  lane.reader->pop();
  if (lane.cursors->due(lane.reader->position())) {
    publish_cursors(to);
  }
  check(guard);
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

// --- readiness
// -------------------------------------------------------------------------------------

bool Mapped::readable(Side side) {
  if (is_mapped(side)) {
    return mapped_end_readable(side);
  }
  if (!lane(other(side)).front.empty()) {
    return true;
  }
  const auto guard = this->guard();
  LaneReader::Record record;
  const bool something = look(side, record) != LaneReader::Outcome::empty;
  check(guard);
  return something || corrupt_;
}

bool Mapped::writable(Side side) {
  if (is_mapped(side)) {
    return mapped_end_writable(side);
  }
  flush(side);
  if (corrupt_) {
    return true;
  }
  if (!channel_->from(side).queue.empty()) {
    return false;
  }
  const auto guard = this->guard();
  const auto peer_shutdown =
      pool::shared(end(other(side)).segment->header().shutdown).load(std::memory_order_acquire);
  const bool room = lane(side).writer->room_for_any() != LaneWriter::Outcome::full;
  check(guard);
  return room || (peer_shutdown & FLOWFS_SHUT_RECEIVE) != 0 || corrupt_;
}

// poll on the message file of a mapped end: what its program would find, as far as its own
// published cursors tell.
bool Mapped::mapped_end_readable(Side side) {
  const End& peer = end(other(side));
  if (peer.retired || !channel_->from(other(side)).writer_open) {
    return true;
  }
  const auto guard = this->guard();
  LaneReader reader(geometry_, peer.segment->bytes(), cursors_of(side));
  LaneReader::Record record;
  const auto shutdown =
      pool::shared(peer.segment->header().shutdown).load(std::memory_order_acquire);
  const bool something = reader.peek(record) != LaneReader::Outcome::empty;
  check(guard);
  return something || (peer.mapped && (shutdown & FLOWFS_SHUT_SEND) != 0) || corrupt_;
}

bool Mapped::mapped_end_writable(Side side) {
  const End& me = end(side);
  const End& peer = end(other(side));
  const auto guard = this->guard();
  const auto shutdown =
      pool::shared(peer.segment->header().shutdown).load(std::memory_order_acquire);
  const auto lane_end =
      pool::find_lane_end(LaneReader(geometry_, me.segment->bytes(), cursors_of(other(side))));
  bool room = !lane_end.has_value() || (peer.mapped && (shutdown & FLOWFS_SHUT_RECEIVE) != 0);
  if (!room) {
    LaneWriter writer(geometry_, me.segment->bytes(), peer.segment->bytes(),
                      me.segment->generation(), *lane_end);
    room = writer.room_for_any() != LaneWriter::Outcome::full;
  }
  check(guard);
  return room || corrupt_;
}

// --- news
// ------------------------------------------------------------------------------------------

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
  check(guard);
}

void Mapped::reader_closed(Side side) {
  End& me = end(side);
  End& peer = end(other(side));
  lane(other(side)).front.clear();
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

// --- waiting
// ---------------------------------------------------------------------------------------

void Mapped::wait_for(Side side, Interest interest) {
  if (!is_mapped(other(side))) {
    return;
  }
  Interest& wanted = end(side).interest;
  wanted.data |= interest.data;
  if (interest.room_bytes != 0) {
    wanted.room_bytes = wanted.room_bytes == 0 ? interest.room_bytes
                                               : std::min(wanted.room_bytes, interest.room_bytes);
  }
  arm(side);
}

void Mapped::stop_waiting(Side side) {
  disarm(side);
  arm(side);  // for what still waits in the queue
}

// Goes to sleep on the bell of the mapped peer, by the protocol of pool/bell.hpp; the wait itself
// is the loop's.
void Mapped::arm(Side side) {
  End& me = end(side);
  End& peer = end(other(side));
  const MessageQueue& queue = channel_->from(side).queue;
  std::size_t room_bytes = me.interest.room_bytes;
  if (!me.mapped && !queue.empty()) {
    const std::size_t first = queue.front_whole().size();
    room_bytes = room_bytes == 0 ? first : std::min(room_bytes, first);
  }
  if (!peer.mapped || (!me.interest.data && room_bytes == 0)) {
    return;
  }
  const auto guard = this->guard();
  const std::uint32_t& word = peer.segment->header().bell;
  std::optional<std::uint32_t> bell;
  const auto begin = [&](std::optional<pool::Sleeper>& sleeper) {
    if (sleeper && !sleeper->asleep()) {
      const std::uint32_t seen = sleeper->begin(word);
      bell = bell.value_or(seen);  // the earlier one: no ring since then is missed
    }
  };
  if (me.mapped) {
    // acquire: taken before the look below; the program's own sleep words make its peer ring.
    bell = pool::shared(word).load(std::memory_order_acquire);
  } else if (me.interest.data) {
    begin(me.data_sleeper);
  }
  if (!me.mapped && room_bytes != 0) {
    begin(me.room_sleeper);
  }
  if (!bell && me.wait.pending()) {
    return;  // asleep for all of it already
  }
  bell = bell.value_or(pool::shared(word).load(std::memory_order_acquire));
  bool ready = corrupt_ || (me.interest.data && readable(side));
  if (!ready && room_bytes != 0) {
    ready = me.mapped ? mapped_end_writable(side) : has_room(side, room_bytes);
  }
  check(guard);
  if (ready || !me.wait.pending()) {
    // A value the bell has already left makes the wait end at once, in the loop and not in here.
    const std::uint32_t expected = ready || corrupt_ ? *bell - 1 : *bell;
    me.wait = loop_->futex_wait(pool::futex_word(word), expected, peer.segment->mapping(),
                                [this, side] { rung(side); });
  }
}

bool Mapped::has_room(Side from, std::size_t bytes) {
  // What is queued goes first and is what `bytes` was taken from, if there is any.
  const LaneWriter::Outcome outcome = lane(from).writer->room_for(bytes);
  if (outcome == LaneWriter::Outcome::corrupt) {
    poison();
  }
  const auto peer_shutdown =
      pool::shared(end(other(from)).segment->header().shutdown).load(std::memory_order_acquire);
  return outcome != LaneWriter::Outcome::full || (peer_shutdown & FLOWFS_SHUT_RECEIVE) != 0;
}

void Mapped::disarm(Side side) {
  End& me = end(side);
  me.interest = {};
  me.wait = {};
  const auto guard = this->guard();
  for (auto* sleeper : {&me.data_sleeper, &me.room_sleeper}) {
    if (*sleeper) {
      (*sleeper)->end();
    }
  }
  check(guard);
}

void Mapped::rung(Side side) {
  disarm(side);
  flush(side);
  arm(side);
  listener_->on_mapped_peer_activity(*channel_);  // last: the channel may be gone afterwards
}

}  // namespace flowfs::flow
