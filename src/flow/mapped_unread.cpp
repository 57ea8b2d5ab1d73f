// SPDX-License-Identifier: BSD-3-Clause
// What a lane holds that nobody has read: taken back into private memory, or counted and dropped.
#include <utility>

#include "flow/mapped.hpp"
#include "pool/shared.hpp"

namespace flowfs::flow {

using pool::LaneReader;
using pool::LaneWriter;
using pool::Position;

// `side` reads no more. A mapped reader has read as far as its cursors tell. What goes from one
// mapped end to another is not counted, and neither is what it leaves there. A lie ends the count
// and no more: the lane is never read again.
void Mapped::drop_unread(Side side) {
  if (corrupt_ || (!is_mapped(side) && !is_mapped(other(side)))) {
    return;
  }
  Channel::Direction& direction = channel_->from(other(side));
  const bool seen = !is_mapped(side);
  const Visitor drop = [&direction, seen](const LaneReader::Record& record, bool counted) {
    if (counted || seen) {
      count_drop(direction, record, counted);
    }
  };
  const auto guard = this->guard();
  if (is_mapped(side)) {
    (void)(visit_retired(side, drop) && visit_present(side, drop));
  } else if (const Lane& lane = this->lane(other(side)); lane.reader) {
    LaneReader reader = *lane.reader;  // in front of the message begun
    (void)visit(reader, lane.counted, drop);
  }
  check(guard);
}

void Mapped::count_drop(Channel::Direction& direction, const LaneReader::Record& record,
                        bool counted) {
  if (!counted) {
    direction.count_seen(message_bytes(record));
  }
  ++direction.stats.drops;
}

// From the lane of `side` into its queue, for a file reader. The message begun stays begun.
bool Mapped::take_back_sending(Side side) {
  Lane& lane = this->lane(side);
  Channel::Direction& direction = channel_->from(side);
  bool good = true;
  if (direction.reader_open) {
    keep_front(side);
    good = visit(*lane.reader, lane.counted, salvage_into(direction.queue, side));
  }
  forget_front(side);
  lane.reader.reset();
  lane.cursors.reset();
  return good;
}

// The message begun, from its copy: the first of the queue.
void Mapped::keep_front(Side from) {
  Lane& lane = this->lane(from);
  if (lane.front.empty()) {
    return;
  }
  Channel::Direction& direction = channel_->from(from);
  const std::span<const std::byte> whole = lane.front.front_whole();
  direction.queue.push(whole);
  if (const std::size_t begun = whole.size() - lane.front.front_rest().size(); begun != 0) {
    direction.queue.consume(begun);
  }
  ++direction.stats.copies;
  if (lane.reader->position().hot >= lane.counted) {
    direction.count_seen(whole.size());
  }
  forget_front(from);
  lane.reader->pop();
}

// From the lane of the peer, in file mode or closed, back into its queue, in front of what is
// there.
bool Mapped::take_back_receiving(Side side) {
  End& peer = end(other(side));
  Lane& lane = this->lane(other(side));
  Channel::Direction& direction = channel_->from(other(side));
  MessageQueue unread;
  bool good = true;
  if (direction.reader_open) {
    const Visitor salvage = salvage_into(unread, other(side));
    good = visit_retired(side, salvage) && visit_present(side, salvage);
    direction.queue.visit([&unread](std::span<const std::byte> message) {
      unread.push(message);
      return true;
    });
  }
  direction.queue = std::move(unread);
  if (peer.retired) {
    peer.retired->segment.discard();
    peer.retired.reset();
  }
  if (lane.writer) {
    peer.write_position = lane.writer->position();
    lane.writer.reset();
  } else {
    discard(peer.segment);  // its owner was mapped when it closed
  }
  return good;
}

Mapped::Visitor Mapped::salvage_into(MessageQueue& queue, Side from) {
  return [this, &queue, from](const LaneReader::Record& record, bool counted) {
    Channel::Direction& direction = channel_->from(from);
    if (!copy_message(from, record, queue)) {
      count_drop(direction, record, counted);
      return;
    }
    ++direction.stats.copies;
    if (!counted) {
      direction.count_seen(message_bytes(record));
    }
  };
}

// What `side` has not read of its peer's present segment, by its own cursors.
bool Mapped::visit_present(Side side, const Visitor& each) {
  End& peer = end(other(side));
  Lane& lane = this->lane(other(side));
  LaneReader reader(geometry_, peer.segment->bytes(), cursors_of(side));
  if (!lane.writer) {
    reader.set_end(end(side).status.words().closed_at);
    return visit(reader, lane.counted, each);
  }
  return lane.writer->refresh() == LaneWriter::Outcome::ok &&
         visit(reader, FLOWFS_LANE_OPEN, each) &&
         reader.position().hot == lane.writer->position().hot;
}

// The reader has not come past the segment that its peer lost: the rest of that comes first.
bool Mapped::visit_retired(Side reader_side, const Visitor& each) {
  if (!end(other(reader_side)).retired) {
    return true;
  }
  const Retired& retired = *end(other(reader_side)).retired;
  const flowfs_cursors& cursors = end(reader_side).segment->header().cursors;
  if (pool::shared(cursors.generation).load(std::memory_order_acquire) !=
      std::to_underlying(retired.segment.generation())) {
    return true;
  }
  const pool::FaultGuard guard(retired.segment.bytes());
  const Position at{.hot = pool::shared(cursors.hot).load(std::memory_order_acquire),
                    .bulk = pool::shared(cursors.bulk).load(std::memory_order_acquire),
                    .sequence = FLOWFS_SEQUENCE_ANY};
  LaneReader reader(geometry_, retired.segment.bytes(), at);
  reader.set_end(retired.lane_end);
  return visit(reader, retired.counted, each) && !guard.faulted();
}

// Every record that is committed now. False: corrupt.
bool Mapped::visit(LaneReader& reader, std::uint64_t counted, const Visitor& each) {
  LaneReader::Record record;
  pool::LaneWalk walk(reader);
  LaneReader::Outcome outcome{};
  while ((outcome = walk.next(record)) == LaneReader::Outcome::record) {
    each(record, reader.position().hot < counted);
  }
  return outcome != LaneReader::Outcome::corrupt;
}

}  // namespace flowfs::flow
