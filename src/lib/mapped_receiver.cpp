// SPDX-License-Identifier: BSD-3-Clause
#include <cstring>
#include <utility>

#include "lib/mapped.hpp"
#include "pool/shared.hpp"

namespace flowfs::lib {

using pool::LaneReader;

MappedReceiver::MappedReceiver(const Attachment& attachment, SpinBudget spin)
    : attachment_(attachment), sleeper_(attachment.own().sleep_data), spin_(spin) {
  take_up(attachment.first_peer, attachment.answer.read);
}

void MappedReceiver::take_up(std::shared_ptr<const PeerSegment> peer, const pool::Position& start) {
  reader_.emplace(attachment_.geometry, peer->mapping.bytes(), start);
  cursors_.emplace(attachment_.geometry, attachment_.own().cursors, peer->generation, start);
  bell_.emplace(attachment_.own(), peer->header());
  peer_ = std::move(peer);
  bell_->wake_room();  // whoever waits for these cursors to be about its segment
}

// The lane before has been read to its end.
Status MappedReceiver::follow() {
  auto peer = attachment_.map_peer();
  if (!peer) {
    return std::unexpected(peer.error());
  }
  take_up(std::move(*peer), {.hot = 0, .bulk = 0, .sequence = 0});
  return {};
}

MappedReceiver::Lane MappedReceiver::look_at_status() const {
  const flowfs_status& status = attachment_.status();
  // acquire, pairs with StatusSlot: read in the order of struct flowfs_status.
  while (true) {
    const pool::Generation generation = attachment_.peer_generation();
    if (generation != peer_->generation) {
      return {.retired = true,
              .end = pool::shared(status.retired_at).load(std::memory_order_acquire)};
    }
    const std::uint64_t end = pool::shared(status.closed_at).load(std::memory_order_acquire);
    if (attachment_.peer_generation() == generation) {
      return {.retired = false, .end = end};
    }
  }
}

void MappedReceiver::publish() {
  if (cursors_->behind(reader_->position())) {
    cursors_->publish(reader_->position());
    bell_->wake_room();
  }
}

// Asks the status slot first: what a writer adds behind its end, once it has one, is not believed.
LaneReader::Outcome MappedReceiver::peek(LaneReader::Record& record, bool& retired) {
  Lane lane = look_at_status();
  while (true) {
    retired = lane.retired;
    if (lane.end != FLOWFS_LANE_OPEN) {
      reader_->set_end(lane.end);
    }
    const LaneReader::Outcome outcome = reader_->peek(record);
    if (outcome != LaneReader::Outcome::empty) {
      return outcome;
    }
    publish();
    // acquire, pairs with the owner's store behind its last commit: then the second look sees it.
    const bool said = (pool::shared(peer_->header().shutdown).load(std::memory_order_acquire) &
                       FLOWFS_SHUT_SEND) != 0;
    const Lane now = look_at_status();
    if (now == lane) {
      const LaneReader::Outcome second = said ? reader_->peek(record) : outcome;
      return said && !retired && second == LaneReader::Outcome::empty ? LaneReader::Outcome::end
                                                                      : second;
    }
    lane = now;
  }
}

Result<std::size_t> MappedReceiver::take(const LaneReader::Record& record,
                                         std::span<std::byte> into) {
  const std::size_t bytes = record.payload.size();
  if (bytes > into.size()) {
    return fail(EMSGSIZE, "longer than the buffer");
  }
  std::memcpy(into.data(), record.payload.data(), bytes);
  reader_->pop();
  if (cursors_->due(reader_->position())) {
    publish();
  }
  return bytes;
}

Result<std::size_t> MappedReceiver::try_receive(std::span<std::byte> into) {
  const flowfs_status& status = attachment_.status();
  while (true) {
    // acquire, pairs with the daemon's stores in the slot.
    if (pool::shared(status.flow).load(std::memory_order_acquire) != attachment_.answer.flow) {
      return 0;  // this end is closed (ctl): nothing comes any more
    }
    if ((pool::shared(status.flags).load(std::memory_order_acquire) & FLOWFS_STATUS_CORRUPT) != 0) {
      return fail(EPROTO, "poisoned");
    }
    LaneReader::Record record;
    bool retired = false;
    switch (peek(record, retired)) {
      case LaneReader::Outcome::record:
        return take(record, into);
      case LaneReader::Outcome::empty:
        return fail(EAGAIN, "no message");
      case LaneReader::Outcome::corrupt:
        return fail(EPROTO, "lane of the peer");
      case LaneReader::Outcome::end:
        if (!retired) {
          return 0;
        }
        if (const Status followed = follow(); !followed) {
          return std::unexpected(followed.error());
        }
    }
  }
}

Result<std::size_t> MappedReceiver::receive(std::span<std::byte> into, const Wait& wait) {
  while (true) {
    sleeper_.end();  // left asleep for a poll
    auto received = try_receive(into);
    const auto something = [&] {
      received = try_receive(into);
      return received || received.error().error != EAGAIN;
    };
    if (received || received.error().error != EAGAIN || (wait.blocks && spin_.spin(something))) {
      return received;
    }
    if (!wait.blocks && !rings_.load(std::memory_order_relaxed)) {
      return received;
    }
    if (wait.blocks && wait.deadline != kNever && Clock::now() >= wait.deadline) {
      return fail(ETIMEDOUT, "no message");
    }
    if (wait.blocks && !spin_.may_sleep()) {
      continue;
    }
    // The look may take up another segment: the bell is that of the one before, which was rung.
    const std::shared_ptr<const PeerSegment> peer = peer_;
    const std::uint32_t bell = sleeper_.begin(peer->header().bell);
    if (something()) {
      sleeper_.end();
      return received;
    }
    if (!wait.blocks) {
      return received;
    }
    if (peer == peer_) {
      // Whatever ends it: look again.
      static_cast<void>(futex_wait(pool::futex_word(peer->header().bell), bell, wait.deadline));
    }
  }
}

}  // namespace flowfs::lib
