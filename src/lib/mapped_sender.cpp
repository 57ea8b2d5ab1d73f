// SPDX-License-Identifier: BSD-3-Clause
#include <utility>

#include "lib/mapped.hpp"
#include "pool/shared.hpp"

namespace flowfs::lib {

using pool::LaneWriter;

MappedSender::MappedSender(const Attachment& attachment, SpinBudget spin)
    : attachment_(attachment),
      peer_(attachment.first_peer),
      sleeper_(attachment.own().sleep_room),
      spin_(spin) {
  writer_.emplace(attachment.geometry, attachment.tx.bytes(), peer_->mapping.bytes(),
                  pool::Generation{attachment.answer.generation}, attachment.answer.write);
  bell_.emplace(attachment.own(), peer_->header());
}

void MappedSender::take_up(std::shared_ptr<const PeerSegment> peer) {
  const pool::Position position = writer_->position();
  writer_.emplace(attachment_.geometry, attachment_.tx.bytes(), peer->mapping.bytes(),
                  pool::Generation{attachment_.answer.generation}, position);
  bell_.emplace(attachment_.own(), peer->header());
  peer_ = std::move(peer);
}

// The peer has a new segment: its cursors and its sleep are told there.
Status MappedSender::follow() {
  if (attachment_.peer_generation() == peer_->generation) [[likely]] {
    return {};
  }
  auto peer = attachment_.map_peer();
  if (!peer) {
    return std::unexpected(peer.error());
  }
  take_up(std::move(*peer));
  return {};
}

Status MappedSender::obstacle() const {
  const flowfs_status& status = attachment_.status();
  // acquire, pairs with the daemon's stores in the slot.
  if (pool::shared(status.flow).load(std::memory_order_acquire) != attachment_.answer.flow) {
    return fail(EPIPE, "the end has gone");
  }
  const std::uint32_t flags = pool::shared(status.flags).load(std::memory_order_acquire);
  if ((flags & FLOWFS_STATUS_CORRUPT) != 0) {
    return fail(EPROTO, "poisoned");
  }
  // acquire: the peer's own words, which it never clears; likewise this end's.
  const bool deaf = (pool::shared(peer_->header().shutdown).load(std::memory_order_acquire) &
                     FLOWFS_SHUT_RECEIVE) != 0;
  const bool mute = (pool::shared(attachment_.own().shutdown).load(std::memory_order_acquire) &
                     FLOWFS_SHUT_SEND) != 0;
  if (deaf || mute || (flags & (FLOWFS_STATUS_PEER_DEAF | FLOWFS_STATUS_MUTE)) != 0) {
    return fail(EPIPE, "shut down");
  }
  return {};
}

Status MappedSender::try_send(std::span<const std::byte> message) {
  if (Status open = obstacle(); !open) {
    return open;
  }
  switch (writer_->write(message)) {
    case LaneWriter::Outcome::ok:
      break;
    case LaneWriter::Outcome::full:
      if (Status followed = follow(); !followed) {
        return followed;
      }
      return fail(EAGAIN, "the lane is full");
    case LaneWriter::Outcome::corrupt:
      return fail(EPROTO, "cursors of the peer");
  }
  // The message is in the lane, whatever comes of this; a peer that cannot be followed has gone.
  if (follow()) {
    bell_->wake_data();
  }
  return {};
}

// The look behind Sleeper::begin.
bool MappedSender::can_go_on(std::size_t bytes) {
  return writer_->room_for(bytes) != LaneWriter::Outcome::full || !obstacle() ||
         attachment_.peer_generation() != peer_->generation;
}

Status MappedSender::send(std::span<const std::byte> message, const Wait& wait) {
  if (message.empty()) {
    return fail(EINVAL, "an empty message");
  }
  if (message.size() > attachment_.geometry.mtu_bytes) {
    return fail(EMSGSIZE, "longer than the mtu");
  }
  while (true) {
    sleeper_.end();  // left asleep for a poll
    Status sent = try_send(message);
    if (sent || sent.error().error != EAGAIN) {
      return sent;
    }
    if (wait.blocks && spin_.spin([&] { return can_go_on(message.size()); })) {
      continue;
    }
    if (!wait.blocks && !rings_.load(std::memory_order_relaxed)) {
      return sent;
    }
    if (wait.blocks && wait.deadline != kNever && Clock::now() >= wait.deadline) {
      return fail(ETIMEDOUT, "no room");
    }
    if (wait.blocks && !spin_.may_sleep()) {
      continue;
    }
    const FutexWord* word = pool::futex_word(peer_->header().bell);
    const std::uint32_t bell = sleeper_.begin(peer_->header().bell);
    if (can_go_on(message.size())) {
      continue;
    }
    if (!wait.blocks) {
      return sent;
    }
    slept_on_.store(word, std::memory_order_release);
    static_cast<void>(futex_wait(word, bell, wait.deadline));  // whatever ended it: look again
    slept_on_.store(nullptr, std::memory_order_release);
  }
}

void MappedSender::nudge() const {
  // A word whose mapping has gone meanwhile wakes nobody and does no harm.
  if (const FutexWord* word = slept_on_.load(std::memory_order_acquire); word != nullptr) {
    futex_wake(word);
  }
}

}  // namespace flowfs::lib
