// SPDX-License-Identifier: BSD-3-Clause
#include "lib/mapped_receiver.hpp"

#include <algorithm>
#include <utility>

#include "pool/shared.hpp"

namespace flowfs::lib {

using pool::LaneReader;

MappedReceiver::MappedReceiver(const Attachment& attachment, SpinBudget spin)
    : attachment_(attachment),
      sleeper_(attachment.own().sleep_data),
      spin_(spin),
      tally_(attachment.own().receiving) {
  take_up(attachment.first_peer, attachment.answer.read);
}

MappedReceiver::~MappedReceiver() {
  for (const Borrowed& message : borrowed_) {
    if (message.block) {
      free_block(*message.block);
    }
  }
}

void MappedReceiver::take_up(std::shared_ptr<const PeerSegment> peer, const pool::Position& start) {
  reader_.emplace(attachment_.geometry, peer->bytes, start);
  cursors_.emplace(attachment_.geometry, attachment_.own().cursors, peer->generation, start);
  bell_.emplace(attachment_.own(), peer->header());
  peer_ = std::move(peer);
  bell_->wake_room();  // whoever waits for these cursors to be about its segment
}

// The lane before has been read to its end; its memory goes as soon as the cursors say so.
Status MappedReceiver::follow() {
  if (first_of_lane() != nullptr) {
    return fail(EBUSY, "messages of the former segment are borrowed");
  }
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
  const pool::Position position = released();
  if (cursors_->behind(position)) {
    cursors_->publish(position);
    if (bell_->wake_room()) {
      tally_.woke();
    }
  }
}

void MappedReceiver::step_over() {
  reader_->pop();
  if (cursors_->due(released())) {
    publish();
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

Result<bool> MappedReceiver::look(LaneReader::Record& record) {
  const flowfs_status& status = attachment_.status();
  while (true) {
    // acquire, pairs with the daemon's stores in the slot.
    if (pool::shared(status.flow).load(std::memory_order_acquire) != attachment_.answer.flow) {
      return false;  // this end is closed (ctl): nothing comes any more
    }
    if ((pool::shared(status.flags).load(std::memory_order_acquire) & FLOWFS_STATUS_CORRUPT) != 0) {
      return fail(EPROTO, "poisoned");
    }
    bool retired = false;
    const LaneReader::Outcome outcome = peek(record, retired);
    found_empty_ = outcome == LaneReader::Outcome::empty;
    switch (outcome) {
      case LaneReader::Outcome::record:
        // Of an encrypted flow it is one of those that do not open.
        corrupt_ =
            corrupt_ ||
            (record.block && !attachment_.sealed &&
             (!attachment_.seat || attachment_.seat->member->bytes_of(*record.block).empty()));
        if (corrupt_) {
          return fail(EPROTO, "a block that is not in the pool");
        }
        return true;
      case LaneReader::Outcome::empty:
        return fail(EAGAIN, "no message");
      case LaneReader::Outcome::corrupt:
        return fail(EPROTO, "lane of the peer");
      case LaneReader::Outcome::end:
        if (!retired) {
          return false;
        }
        if (const Status followed = follow(); !followed) {
          return std::unexpected(followed.error());
        }
    }
  }
}

std::size_t MappedReceiver::length_of(const LaneReader::Record& record) const {
  if (attachment_.sealed) {
    return record.payload.size() - std::min(record.payload.size(), auth::kRecordOverhead);
  }
  return record.block ? record.block->length : record.payload.size();
}

bool MappedReceiver::open(const LaneReader::Record& record, std::span<std::byte> into) {
  const bool opened =
      !into.empty() && attachment_.sealed->opener.open(record.payload, into, Clock::now()) ==
                           auth::RecordOpener::Outcome::ok;
  if (!opened) {
    tally_.dropped();
    step_over();
  }
  return opened;
}

bool MappedReceiver::open_into(const LaneReader::Record& record, Pieces into) {
  const std::size_t bytes = length_of(record);
  if (into.front().iov_len >= bytes) {
    return open(record, bytes_of(into.front()).first(bytes));
  }
  const auto whole = std::make_unique_for_overwrite<std::byte[]>(bytes);
  const bool opened = open(record, {whole.get(), bytes});
  if (opened) {
    scatter({whole.get(), bytes}, into);
  }
  return opened;
}

std::optional<std::span<const std::byte>> MappedReceiver::take(const LaneReader::Record& record) {
  if (!record.block) {
    return record.payload;
  }
  PoolMember& member = *attachment_.seat->member;
  if (!member.slab().take({.block = record.block->block, .generation = record.block->generation})) {
    tally_.dropped();
    step_over();
    return std::nullopt;
  }
  return member.bytes_of(*record.block);
}

void MappedReceiver::free_block(const flowfs_block& block) {
  attachment_.seat->member->free({.block = block.block, .generation = block.generation});
}

Result<std::size_t> MappedReceiver::try_receive(Pieces into) {
  LaneReader::Record record;
  for (int refused = 0; refused < kMostRefused; ++refused) {
    const auto found = look(record);
    if (!found) {
      return std::unexpected(found.error());
    }
    if (!*found) {
      return 0;
    }
    const std::size_t bytes = length_of(record);
    if (bytes > total_bytes(into)) {
      return fail(EMSGSIZE, "longer than the buffer");
    }
    if (attachment_.sealed) {
      if (!open_into(record, into)) {
        continue;
      }
      tally_.copied();
      step_over();
      return bytes;
    }
    if (const auto message = take(record)) {
      scatter(*message, into);
      if (record.block) {
        free_block(*record.block);
      }
      tally_.copied();
      step_over();
      return bytes;
    }
  }
  return fail(EAGAIN, "nothing but what is dropped");
}

Result<std::size_t> MappedReceiver::receive(Pieces into, const Wait& wait) {
  Result<std::size_t> received = 0;
  const Status done = when_something(wait, [&]() -> Status {
    received = try_receive(into);
    return received ? Status{} : std::unexpected(received.error());
  });
  return done ? received : std::unexpected(done.error());
}

Result<std::size_t> MappedReceiver::receive_many(std::span<iovec> into, const Wait& wait) {
  std::size_t count = 0;
  while (count < into.size()) {
    iovec& piece = into[count];
    const auto received = count == 0 ? receive({&piece, 1}, wait) : try_receive(Pieces(&piece, 1));
    if (!received) {
      if (count == 0) {
        return received;
      }
      break;
    }
    if (*received == 0) {
      break;
    }
    piece.iov_len = *received;
    ++count;
  }
  return count;
}

bool MappedReceiver::is_ready() {
  LaneReader::Record record;
  const auto found = look(record);
  return found || found.error().error != EAGAIN;
}

std::optional<Doorbell> MappedReceiver::arm() {
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

}  // namespace flowfs::lib
