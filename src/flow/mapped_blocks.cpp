// SPDX-License-Identifier: BSD-3-Clause
// Pools as a flow sees them: which one its ends share, and messages that lie in blocks.
#include <cstring>
#include <utility>

#include "flow/mapped.hpp"
#include "pool/shared.hpp"

namespace flowfs::flow {

using pool::LaneReader;

namespace {

void add(flowfs_counters& sum, const flowfs_counters& own) {
  // relaxed: the owner's own figures, which order nothing.
  sum.copies += pool::shared(own.copies).load(std::memory_order_relaxed);
  sum.waits += pool::shared(own.waits).load(std::memory_order_relaxed);
  sum.wakeups += pool::shared(own.wakeups).load(std::memory_order_relaxed);
  sum.drops += pool::shared(own.drops).load(std::memory_order_relaxed);
}

}  // namespace

void Mapped::set_pool(Side side, std::uint64_t serial) {
  end(side).pool = serial;
  tell_pool();
}

void Mapped::tell_pool() {
  const End& one = ends_[0];
  const End& two = ends_[1];
  const bool both = one.mapped && two.mapped && one.pool == two.pool && !corrupt_;
  const std::uint64_t serial = both ? one.pool : 0;
  if (std::exchange(shared_pool_, serial) == serial) {
    return;
  }
  for (End& end : ends_) {
    if (end.status) {
      end.status.set_pool(serial);
    }
  }
}

// --- messages ---

std::size_t Mapped::message_bytes(const LaneReader::Record& record) {
  return record.block ? record.block->length : record.payload.size();
}

// Puts a copy of the message behind what is in `to`. False: it was in a block that is not to be
// had; its sender has taken it back, or lied. Or no message can be in it: it is too short to have
// been sealed, or it was not.
bool Mapped::copy_message(Side from, const LaneReader::Record& record, MessageQueue& to) {
  const std::size_t overhead = channel_->limits().overhead_bytes;
  if (overhead != 0 && (record.block || record.payload.size() <= overhead)) {
    return false;
  }
  if (!record.block) {
    const std::span<std::byte> copy = to.push_uninitialised(record.payload.size());
    std::memcpy(copy.data(), record.payload.data(), copy.size());
    return true;
  }
  if (blocks_ == nullptr) {
    return false;
  }
  const std::span<std::byte> copy = to.push_uninitialised(record.block->length);
  const bool taken = blocks_->take(from, *record.block, copy);
  if (!taken) {
    to.take_back(copy.size());
  }
  return taken;
}

// Steps over a record whose message there is not.
void Mapped::drop_front(Side to, const LaneReader::Record& record) {
  const Lane& lane = this->lane(other(to));
  count_drop(channel_->from(other(to)), record, lane.reader->position().hot < lane.counted);
  step_over(to);
}

void Mapped::forget_front(Side from) {
  lane(from).front.clear();
  lane(from).front_only = false;
}

// What records name that the reader of `from` has not read, by its own cursors. A lie ends the
// walk: then nothing that is named counts.
std::vector<flowfs_block> Mapped::unread_blocks(Side from) {
  std::vector<flowfs_block> named;
  const Visitor collect = [&named](const LaneReader::Record& record, bool /*counted*/) {
    if (record.block) {
      named.push_back(*record.block);
    }
  };
  const Side reader_side = other(from);
  const auto guard = this->guard();
  bool good = !corrupt_;
  if (good && is_mapped(reader_side)) {
    good = visit_retired(reader_side, collect) && visit_present(reader_side, collect);
  } else if (good && lane(from).reader) {
    LaneReader reader = *lane(from).reader;
    good = visit(reader, lane(from).counted, collect);
  }
  check(guard);
  return good && !corrupt_ ? named : std::vector<flowfs_block>{};
}

// --- counters ---

EndCounters Mapped::counters(Side side) {
  const End& me = end(side);
  EndCounters sum = me.counters;
  if (me.mapped && !corrupt_) {
    const auto guard = this->guard();
    add(sum.sending, me.segment->header().sending);
    add(sum.receiving, me.segment->header().receiving);
    check(guard);
  }
  return sum;
}

// Before the segment goes.
void Mapped::keep_counters(Side side) { end(side).counters = counters(side); }

}  // namespace flowfs::flow
