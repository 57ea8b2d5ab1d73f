// SPDX-License-Identifier: BSD-3-Clause
// Whether an end could go on, and hearing of it when it can.
#include <algorithm>

#include "flow/mapped.hpp"
#include "pool/shared.hpp"

namespace flowfs::flow {

using pool::LaneReader;
using pool::LaneWriter;

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

// --- waiting ---

void Mapped::wait_for(Side side, Interest interest) {
  if (!is_mapped(other(side)) || channel_->ends_closed_[static_cast<std::size_t>(side)]) {
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
  const std::size_t room_bytes = room_wanted(side);
  if (!peer.mapped || (!me.interest.data && room_bytes == 0)) {
    return;
  }
  const auto guard = this->guard();
  const std::uint32_t& word = peer.segment->header().bell;
  const std::optional<std::uint32_t> begun = begin_sleep(side, word, room_bytes != 0);
  if (!begun && me.wait.pending()) {
    return;  // asleep for all of it already
  }
  const std::uint32_t bell =
      begun ? *begun : pool::shared(word).load(std::memory_order_acquire);  // as in Sleeper::begin
  bool ready = corrupt_ || (me.interest.data && readable(side));
  if (!ready && room_bytes != 0) {
    ready = me.mapped ? mapped_end_writable(side) : has_room(side, room_bytes);
  }
  check(guard);
  ready = ready || corrupt_;
  if (ready || !me.wait.pending()) {
    // A value the bell has already left makes the wait end at once, in the loop and not in here.
    me.wait = loop_->futex_wait(pool::futex_word(word), ready ? bell - 1 : bell,
                                peer.segment->mapping(), [this, side] { rung(side); });
  }
}

// The shortest message that waits for room: of those the caller speaks of, or the first queued.
std::size_t Mapped::room_wanted(Side side) const {
  const End& me = end(side);
  const MessageQueue& queue = channel_->from(side).queue;
  if (me.mapped || queue.empty()) {
    return me.interest.room_bytes;
  }
  const std::size_t first = queue.front_whole().size();
  return me.interest.room_bytes == 0 ? first : std::min(me.interest.room_bytes, first);
}

// The value of the bell from before the sleep, or nothing where no sleep was begun.
std::optional<std::uint32_t> Mapped::begin_sleep(Side side, const std::uint32_t& bell, bool room) {
  End& me = end(side);
  if (me.mapped) {
    // acquire: taken before the caller looks; the program's own sleep words make its peer ring.
    return pool::shared(bell).load(std::memory_order_acquire);
  }
  std::optional<std::uint32_t> seen;
  const auto begin = [&](std::optional<pool::Sleeper>& sleeper) {
    if (sleeper && !sleeper->asleep()) {
      const std::uint32_t now = sleeper->begin(bell);
      seen = seen.value_or(now);  // the earlier one: no ring since then is missed
    }
  };
  if (me.interest.data) {
    begin(me.data_sleeper);
  }
  if (room) {
    begin(me.room_sleeper);
  }
  return seen;
}

bool Mapped::has_room(Side from, std::size_t bytes) {
  // The mtu stands for any message, as in writable(): room for the longest is not yet room for a
  // short one, and poll would be told again and again.
  LaneWriter& writer = *lane(from).writer;
  const LaneWriter::Outcome outcome =
      bytes < geometry_.mtu_bytes ? writer.room_for(bytes) : writer.room_for_any();
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
