// SPDX-License-Identifier: BSD-3-Clause
#include "flow/channel.hpp"

#include <algorithm>

#include "base/result.hpp"

namespace flowfs::flow {

Channel::Channel(Limits limits) : limits_(limits) {}

Channel::~Channel() = default;

WriteOutcome Channel::write(Side side, std::span<const std::byte> message) {
  FLOWFS_CHECK(!message.empty());
  Direction& direction = from(side);
  if (!direction.writer_open || !direction.reader_open) {
    return WriteOutcome::closed;
  }
  if (message.size() > limits_.mtu_bytes) {
    return WriteOutcome::too_long;
  }
  if (!has_room(direction, message.size())) {
    return WriteOutcome::full;
  }
  direction.queue.push(message);
  ++direction.stats.messages;
  ++direction.stats.copies;
  direction.stats.bytes += message.size();
  return WriteOutcome::ok;
}

Channel::Front Channel::front(Side to) {
  const Direction& direction = from(other(to));
  if (!direction.reader_open) {
    return {.outcome = ReadOutcome::end, .rest = {}, .begun = false};
  }
  if (!direction.queue.empty()) {
    return {.outcome = ReadOutcome::ok,
            .rest = direction.queue.front_rest(),
            .begun = direction.queue.front_begun()};
  }
  return {.outcome = direction.writer_open ? ReadOutcome::empty : ReadOutcome::end,
          .rest = {},
          .begun = false};
}

void Channel::consume(Side to, std::size_t bytes) { from(other(to)).queue.consume(bytes); }

void Channel::shutdown_write(Side side) { from(side).writer_open = false; }

void Channel::shutdown_read(Side side) {
  Direction& direction = from(other(side));
  direction.reader_open = false;
  direction.queue.clear();
}

void Channel::close(Side side) {
  shutdown_write(side);
  shutdown_read(side);
}

bool Channel::is_closed(Side side) const {
  return !from(side).writer_open && !from(other(side)).reader_open;
}

bool Channel::readable(Side side) { return front(side).outcome != ReadOutcome::empty; }

bool Channel::writable(Side side) {
  const Direction& direction = from(side);
  return !direction.writer_open || !direction.reader_open || has_room(direction, limits_.mtu_bytes);
}

std::size_t Channel::queued_bytes(Side side) const { return from(side).queue.payload_bytes(); }

const DirectionStats& Channel::stats(Side side) const { return from(side).stats; }

bool Channel::has_room(const Direction& direction, std::size_t bytes) const {
  const std::size_t queued = direction.queue.payload_bytes();
  return queued == 0 || (queued <= limits_.depth_bytes && bytes <= limits_.depth_bytes - queued);
}

}  // namespace flowfs::flow
