// SPDX-License-Identifier: BSD-3-Clause
#include "lib/mapped_sender.hpp"

#include <algorithm>
#include <utility>

#include "pool/shared.hpp"

namespace flowfs::lib {

using pool::LaneWriter;

namespace {

// So many records of a batch are published at once: few enough that the peer begins while the rest
// is laid down.
constexpr std::size_t kBatch = 32;

}  // namespace

MappedSender::MappedSender(const Attachment& attachment, SpinBudget spin)
    : attachment_(attachment),
      peer_(attachment.first_peer),
      writer_(attachment.geometry, attachment.tx.bytes(), peer_->bytes,
              pool::Generation{attachment.answer.generation}, attachment.answer.write),
      bell_(attachment.own(), peer_->header()),
      sleeper_(attachment.own().sleep_room),
      room_(spin),
      tally_(attachment.own().sending) {}

MappedSender::~MappedSender() {
  for (const Loan& loan : loans_) {
    if (loan.block) {
      attachment_.seat->member->free(*loan.block);
    }
  }
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
  writer_.watch((*peer)->bytes);
  bell_ = pool::Bell(attachment_.own(), (*peer)->header());
  peer_ = std::move(*peer);
  return {};
}

Status MappedSender::check_length(std::size_t bytes) const {
  if (bytes == 0) {
    return fail(EINVAL, "an empty message");
  }
  if (bytes > attachment_.mtu_bytes()) {
    return fail(EMSGSIZE, "longer than the mtu");
  }
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

bool MappedSender::has_loan() const {
  return writer_.has_loan() ||
         std::ranges::any_of(loans_, [](const Loan& loan) { return loan.buffer != nullptr; });
}

Status MappedSender::ready_to_stage() const {
  if (has_loan()) {
    return fail(EBUSY, "a message is being written");
  }
  return obstacle();
}

Status MappedSender::explain(LaneWriter::Outcome outcome) {
  switch (outcome) {
    case LaneWriter::Outcome::ok:
      return {};
    case LaneWriter::Outcome::full:
      if (Status followed = follow(); !followed) {
        return followed;
      }
      return fail(EAGAIN, "the lane is full");
    case LaneWriter::Outcome::corrupt:
      break;
  }
  return fail(EPROTO, "cursors of the peer");
}

// What was staged is in the lane, whatever comes of this; a peer that cannot be followed has gone.
void MappedSender::published() {
  if (follow() && bell_.wake_data()) {
    tally_.woke();
  }
}

LaneWriter::Outcome MappedSender::stage(std::span<const std::byte> message) {
  SealedFlow* const sealed = attachment_.sealed.get();
  if (sealed == nullptr) [[likely]] {
    return writer_.stage(message);
  }
  return writer_.stage_filled(record_bytes(message.size()), [&](std::span<std::byte> record) {
    const auto outcome = sealed->sealer.seal(message, record, Clock::now());
    return outcome == auth::RecordSealer::Outcome::ok;
  });
}

Status MappedSender::send(std::span<const std::byte> message, const Wait& wait) {
  if (Status checked = check_length(message.size()); !checked) {
    return checked;
  }
  Need need{.bytes = record_bytes(message.size())};
  return when_room(need, wait, [&]() -> Status {
    if (Status open = ready_to_stage(); !open) {
      return open;
    }
    Status sent = explain(stage(message));
    if (sent) [[likely]] {
      writer_.publish();
      tally_.copied();
      published();
    }
    return sent;
  });
}

Status MappedSender::send(Pieces message, const Wait& wait) {
  const std::size_t bytes = total_bytes(message);
  if (Status checked = check_length(bytes); !checked) {
    return checked;
  }
  if (attachment_.sealed) {
    const auto whole = std::make_unique_for_overwrite<std::byte[]>(bytes);
    gather(message, {whole.get(), bytes});
    return send(std::span<const std::byte>{whole.get(), bytes}, wait);
  }
  Need need{.bytes = bytes, .use = LaneWriter::Use::loan};
  return when_room(need, wait, [&]() -> Status {
    if (Status open = ready_to_stage(); !open) {
      return open;
    }
    std::span<std::byte> place;
    Status sent = explain(writer_.loan(bytes, place));
    if (sent) {
      gather(message, place);
      writer_.stage_loan(bytes);
      writer_.publish();
      tally_.copied();
      published();
    }
    return sent;
  });
}

Result<std::size_t> MappedSender::send_many(Pieces messages, const Wait& wait) {
  std::size_t sent = 0;
  Need need{.bytes = messages.empty() ? 0 : record_bytes(messages.front().iov_len)};
  const Status done =
      when_room(need, wait, [&]() -> Status { return try_send_many(messages, sent); });
  if (!done && sent == 0) {
    return std::unexpected(done.error());
  }
  return sent;
}

// Until the lane is full; that is an obstacle only for the first. Publishes whatever it has staged.
Status MappedSender::try_send_many(Pieces messages, std::size_t& sent) {
  Status open = ready_to_stage();
  std::size_t staged = 0;
  for (const iovec& message : messages) {
    if (open) {
      open = check_length(message.iov_len);
    }
    if (open) {
      open = explain(stage(bytes_of(message)));
    }
    if (!open) {
      break;
    }
    if (++staged % kBatch == 0) {
      writer_.publish();
      published();
    }
  }
  writer_.publish();
  if (staged % kBatch != 0) {
    published();
  }
  tally_.copied(staged);
  sent = staged;
  return staged != 0 ? Status{} : open;
}

// The look behind Sleeper::begin.
bool MappedSender::can_go_on(const Need& need) {
  return writer_.room_for(need.bytes, need.use) != LaneWriter::Outcome::full || !obstacle() ||
         attachment_.peer_generation() != peer_->generation;
}

// False: there is no room, and the call may not wait; it is left asleep for whoever polls.
bool MappedSender::sleep(const Need& need, const Wait& wait) {
  const FutexWord* word = pool::futex_word(peer_->header().bell);
  const std::uint32_t bell = sleeper_.begin(peer_->header().bell);
  if (can_go_on(need)) {
    return true;
  }
  if (!wait.blocks) {
    return false;
  }
  tally_.waited();
  slept_on_.store(word, std::memory_order_release);
  static_cast<void>(futex_wait(word, bell, wait.deadline()));  // whatever ended it: look again
  slept_on_.store(nullptr, std::memory_order_release);
  return true;
}

bool MappedSender::is_ready() {
  if (!follow()) {
    return true;  // as sending will say
  }
  return has_loan() || writer_.room_for_any() != LaneWriter::Outcome::full || !obstacle();
}

std::optional<Doorbell> MappedSender::arm() {
  while (!is_ready()) {
    Doorbell bell{.word = pool::futex_word(peer_->header().bell), .value = 0, .keeps = peer_};
    bell.value = sleeper_.begin(peer_->header().bell);
    if (is_ready()) {
      sleeper_.end();
      return std::nullopt;
    }
    if (bell.keeps == peer_) {
      return bell;
    }
    sleeper_.end();  // that bell was rung for the last time
  }
  return std::nullopt;
}

void MappedSender::nudge() const {
  // A word whose mapping has gone meanwhile wakes nobody and does no harm.
  if (const FutexWord* word = slept_on_.load(std::memory_order_acquire); word != nullptr) {
    futex_wake(word);
  }
}

}  // namespace flowfs::lib
