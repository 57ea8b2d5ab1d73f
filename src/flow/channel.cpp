// SPDX-License-Identifier: BSD-3-Clause
#include "flow/channel.hpp"

#include <cstring>
#include <utility>

#include "base/result.hpp"
#include "flow/mapped.hpp"

namespace flowfs::flow {
namespace {

constexpr int kMostRefused = 1024;  // records in one look

}  // namespace

Channel::Channel(Limits limits) : limits_(limits) {}

Channel::~Channel() = default;

void Channel::encrypt(Keys keys) {
  FLOWFS_CHECK(mapped_ == nullptr && !is_encrypted());
  limits_.overhead_bytes = Sealing::kOverhead;
  from(Side::client).sealing.emplace(keys.choice, std::move(keys.to_server), keys.limits);
  from(Side::server).sealing.emplace(keys.choice, std::move(keys.to_client), keys.limits);
}

WriteOutcome Channel::write(Side side, std::span<const std::byte> message) {
  FLOWFS_CHECK(!message.empty());
  Direction& direction = from(side);
  if (is_corrupt()) {
    return WriteOutcome::corrupt;
  }
  if (is_mapped(side)) {
    return WriteOutcome::busy;
  }
  if (!direction.writer_open || !direction.reader_open) {
    return WriteOutcome::closed;
  }
  if (message.size() > limits_.mtu_bytes) {
    return WriteOutcome::too_long;
  }
  if (is_mapped(other(side))) {
    return mapped_->write(side, message);
  }
  if (!has_room(direction, message.size())) {
    return WriteOutcome::full;
  }
  const std::size_t bytes = message.size() + direction.overhead();
  const std::span<std::byte> place = direction.queue.push_uninitialised(bytes);
  if (!direction.sealing) {
    std::memcpy(place.data(), message.data(), place.size());
  } else if (!direction.sealing->seal(message, place)) {
    direction.queue.take_back(bytes);
    return WriteOutcome::corrupt;
  }
  direction.count(message.size());
  return WriteOutcome::ok;
}

bool Channel::may_pass(Side side, std::size_t bytes) const {
  const Direction& direction = from(side);
  return direction.writer_open && direction.reader_open && bytes <= limits_.mtu_bytes &&
         direction.queue.empty() && !is_encrypted() && !is_mapped(side) &&
         !is_mapped(other(side)) && !is_corrupt();
}

void Channel::passed(Side side, std::size_t bytes) {
  DirectionStats& stats = from(side).stats;
  ++stats.messages;
  stats.bytes += bytes;
}

Channel::Front Channel::front(Side to) {
  return is_encrypted() ? open_front(to) : carried_front(to);
}

Channel::Front Channel::carried_front(Side to) {
  const Direction& direction = from(other(to));
  if (is_corrupt()) {
    return {.outcome = ReadOutcome::corrupt, .rest = {}, .begun = false};
  }
  if (is_mapped(to)) {
    return {.outcome = ReadOutcome::busy, .rest = {}, .begun = false};
  }
  if (!direction.reader_open) {
    return {.outcome = ReadOutcome::end, .rest = {}, .begun = false};
  }
  if (is_mapped(other(to))) {
    return mapped_->front(to);
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

void Channel::consume(Side to, std::size_t bytes) {
  std::optional<Sealing>& sealing = from(other(to)).sealing;
  if (!sealing) {
    consume_carried(to, bytes);
  } else if (sealing->consume(bytes)) {
    const Front record = carried_front(to);
    FLOWFS_CHECK(record.outcome == ReadOutcome::ok);  // that which was opened
    consume_carried(to, record.rest.size());
  }
}

void Channel::consume_carried(Side to, std::size_t bytes) {
  if (is_mapped(other(to))) {
    mapped_->consume(to, bytes);
  } else {
    from(other(to)).queue.consume(bytes);
  }
}

void Channel::drop_carried(Side to) {
  if (is_mapped(other(to))) {
    mapped_->refuse_front(to);
  } else {
    Direction& direction = from(other(to));
    direction.queue.pop();
    ++direction.stats.drops;
  }
}

// What was tampered with, came before or was never sealed is dropped on the way.
Channel::Front Channel::open_front(Side to) {
  Sealing& sealing = *from(other(to)).sealing;
  for (int refused = 0; refused < kMostRefused; ++refused) {
    const Front record = carried_front(to);
    if (record.outcome != ReadOutcome::ok) {
      return record;
    }
    if (sealing.is_open() || sealing.open(record.rest)) {
      return {.outcome = ReadOutcome::ok, .rest = sealing.rest(), .begun = sealing.begun()};
    }
    drop_carried(to);
  }
  return {.outcome = ReadOutcome::empty, .rest = {}, .begun = false};  // a liar waits its turn
}

void Channel::shutdown_write(Side side) {
  if (std::exchange(from(side).writer_open, false) && mapped_ != nullptr) {
    mapped_->writer_closed(side);
  }
}

void Channel::shutdown_read(Side side) {
  Direction& direction = from(other(side));
  if (direction.reader_open && mapped_ != nullptr) {
    mapped_->drop_unread(side);
  }
  direction.stats.drops += direction.queue.count();
  direction.queue.clear();
  if (direction.sealing) {
    direction.sealing->forget_opened();
  }
  if (std::exchange(direction.reader_open, false) && mapped_ != nullptr) {
    mapped_->reader_closed(side);
  }
}

void Channel::close(Side side) {
  const bool first = !std::exchange(ends_closed_[static_cast<std::size_t>(side)], true);
  // In this order: a mapped peer that reads the end of what was sent finds its writes refused.
  shutdown_read(side);
  shutdown_write(side);
  if (first && mapped_ != nullptr) {
    mapped_->closed(side);
  }
}

bool Channel::is_closed(Side side) const {
  return !from(side).writer_open && !from(other(side)).reader_open;
}

bool Channel::readable(Side side) {
  if (!is_corrupt() && from(other(side)).reader_open &&
      (is_mapped(side) || is_mapped(other(side)))) {
    return mapped_->readable(side);
  }
  return front(side).outcome != ReadOutcome::empty;
}

bool Channel::writable(Side side) {
  const Direction& direction = from(side);
  if (is_corrupt() || !direction.writer_open || !direction.reader_open) {
    return true;
  }
  if (is_mapped(side) || is_mapped(other(side))) {
    return mapped_->writable(side);
  }
  return has_room(direction, limits_.mtu_bytes);
}

std::size_t Channel::queued_bytes(Side side) const { return from(side).queued_bytes(); }

const DirectionStats& Channel::stats(Side side) const { return from(side).stats; }

Seen Channel::take_seen(Side side) { return std::exchange(from(side).seen, {}); }

bool Channel::has_room(const Direction& direction, std::size_t bytes) const {
  const std::size_t queued = direction.queued_bytes();
  return queued == 0 || (queued <= limits_.depth_bytes && bytes <= limits_.depth_bytes - queued);
}

// --- mapped mode ---

Result<std::size_t> Channel::segment_bytes(const Limits& limits, std::size_t hot_ring_bytes) {
  const auto geometry =
      pool::Geometry::plan(limits.record_bytes(), limits.depth_bytes, hot_ring_bytes);
  if (!geometry) {
    return std::unexpected(geometry.error());
  }
  return geometry->segment_bytes();
}

Status Channel::make_segments(const MappedSetup& setup) {
  if (mapped_ != nullptr) {
    return mapped_->ensure_segments();
  }
  auto made = Mapped::make(*this, setup);
  if (!made) {
    return std::unexpected(made.error());
  }
  mapped_ = std::move(*made);
  return {};
}

Result<SegmentView> Channel::segment(Side side) const {
  return mapped_ == nullptr ? fail(ENOENT, "segment") : mapped_->segment(side);
}

void Channel::close_segment_fd(Side side) {
  if (mapped_ != nullptr) {
    mapped_->close_segment_fd(side);
  }
}

Result<flowfs_attach> Channel::attach(Side side) {
  if (mapped_ == nullptr) {
    return fail(ENOENT, "segment");
  }
  if (ends_closed_[static_cast<std::size_t>(side)]) {
    return fail(EPIPE, "attach");
  }
  auto answer = mapped_->attach(side);
  if (std::optional<Sealing>& received = from(other(side)).sealing; answer && received) {
    received->forget_opened();
  }
  return answer;
}

Status Channel::detach(Side side) {
  if (!is_mapped(side)) {
    return fail(EINVAL, "detach");
  }
  if (from(side).sealing) {
    from(side).sealing->take_back();
  }
  return mapped_->detach(side);
}

Result<flowfs_key> Channel::take_key(Side side) {
  if (!is_encrypted()) {
    return fail(ENOKEY, "not encrypted");
  }
  if (is_corrupt()) {
    return fail(EPROTO, "key");
  }
  if (!is_mapped(side)) {
    return fail(EPERM, "the daemon seals for an end in file mode");
  }
  const auto range = from(side).sealing->lend();
  if (!range) {
    return fail(ENOKEY, "it was taken");
  }
  const Sealing& sends = *from(side).sealing;
  const Sealing& receives = *from(other(side)).sealing;
  flowfs_key key{.version = FLOWFS_LAYOUT_VERSION,
                 .cipher = static_cast<std::uint8_t>(sends.choice().cipher),
                 .digest = static_cast<std::uint8_t>(sends.choice().digest),
                 .reserved = 0,
                 .first_epoch = range->first_epoch,
                 .last_epoch = range->last_epoch,
                 .next_number = receives.mark().next,
                 .next_epoch = receives.mark().epoch,
                 .reserved1 = 0,
                 .sending = {},
                 .receiving = {}};
  FLOWFS_CHECK(sends.secret().size() == sizeof key.sending &&
               receives.secret().size() == sizeof key.receiving);
  std::memcpy(key.sending, sends.secret().data(), sizeof key.sending);
  std::memcpy(key.receiving, receives.secret().data(), sizeof key.receiving);
  return key;
}

bool Channel::is_mapped(Side side) const { return mapped_ != nullptr && mapped_->is_mapped(side); }

bool Channel::is_corrupt() const { return mapped_ != nullptr && mapped_->is_corrupt(); }

void Channel::set_pool(Side side, std::uint64_t serial) {
  if (mapped_ != nullptr && !is_encrypted()) {  // a block would show what a lane does not
    mapped_->set_pool(side, serial);
  }
}

std::vector<flowfs_block> Channel::unread_blocks(Side side) {
  return mapped_ != nullptr && from(side).reader_open ? mapped_->unread_blocks(side)
                                                      : std::vector<flowfs_block>{};
}

EndCounters Channel::counters(Side side) {
  return mapped_ != nullptr ? mapped_->counters(side) : EndCounters{};
}

void Channel::set_state(Side side, std::uint32_t state) {
  if (mapped_ != nullptr) {
    mapped_->set_state(side, state);
  }
}

void Channel::wait_for(Side side, Interest interest) {
  if (mapped_ != nullptr) {
    interest.room_bytes += interest.room_bytes == 0 ? 0 : limits_.overhead_bytes;
    mapped_->wait_for(side, interest);
  }
}

void Channel::stop_waiting(Side side) {
  if (mapped_ != nullptr) {
    mapped_->stop_waiting(side);
  }
}

}  // namespace flowfs::flow
