// SPDX-License-Identifier: BSD-3-Clause
// Messages written in place: in the lane, or in a block of the pool that is handed over.
#include <algorithm>
#include <cstring>
#include <utility>

#include "lib/mapped_sender.hpp"

namespace flowfs::lib {

using pool::LaneWriter;

namespace {

// Whether a commit that failed so may be tried again.
bool keeps_loan(int error) { return error == EAGAIN || error == ETIMEDOUT || error == EBUSY; }

}  // namespace

Result<Space> MappedSender::loan(std::size_t bytes, std::size_t block_least, const Wait& wait) {
  if (const Status checked = check_length(bytes); !checked) {
    return std::unexpected(checked.error());
  }
  const std::size_t least =
      block_least != 0 ? block_least : std::size_t{attachment_.geometry.inline_bytes} + 1;
  if (attachment_.sealed) {
    const Status open = ready_to_stage();
    return open ? Result<Space>(lend_buffer(bytes)) : std::unexpected(open.error());
  }
  Space space;
  Need need{.bytes = bytes, .use = LaneWriter::Use::loan};
  const Status lent = when_room(need, wait, [&]() -> Status {
    if (Status open = obstacle(); !open) {
      return open;
    }
    if (const auto block = bytes >= least ? lend_block(bytes) : std::nullopt) {
      space = *block;
      return {};
    }
    if (writer_.has_loan()) {
      return fail(EBUSY, "a message is being written in the lane");
    }
    Status done = explain(writer_.loan(bytes, space.bytes));
    if (done) {
      space.id = ++last_id_;
      loans_.push_back({.id = space.id, .bytes = bytes, .block = std::nullopt, .buffer = nullptr});
    }
    return done;
  });
  if (!lent) {
    return std::unexpected(lent.error());
  }
  return space;
}

// Nothing: the peer does not share the pool, or the pool has none to give.
std::optional<Space> MappedSender::lend_block(std::size_t bytes) {
  if (!attachment_.shares_pool()) {
    return std::nullopt;
  }
  PoolMember& member = *attachment_.seat->member;
  const auto block = member.allocate(bytes);
  if (!block) {
    return std::nullopt;
  }
  loans_.push_back({.id = ++last_id_, .bytes = bytes, .block = block, .buffer = nullptr});
  return Space{.bytes = member.slab().bytes(*block).first(bytes), .id = last_id_};
}

// What is written there is for nobody else to see before it is sealed, at the commit.
Space MappedSender::lend_buffer(std::size_t bytes) {
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(bytes);
  const Space space{.bytes = {buffer.get(), bytes}, .id = ++last_id_};
  loans_.push_back(
      {.id = space.id, .bytes = bytes, .block = std::nullopt, .buffer = std::move(buffer)});
  return space;
}

Status MappedSender::commit(std::uint64_t id, std::size_t bytes, const Wait& wait) {
  Loan* loan = find(id);
  if (loan == nullptr || bytes == 0 || bytes > loan->bytes) {
    return fail(EINVAL, "no such loan");
  }
  if (loan->block) {
    PooledMessage message{.member = attachment_.seat->member,
                          .block = *loan->block,
                          .offset = 0,
                          .length = static_cast<std::uint32_t>(bytes)};
    const auto gone = send_block(message, wait);
    loan->block = message.block;
    if (!gone) {
      if (!keeps_loan(gone.error().error)) {
        drop(id);
      }
      return std::unexpected(gone.error());
    }
    if (*gone) {
      loan->block.reset();
    }
    drop(id);
    return {};
  }
  if (loan->buffer) {
    auto buffer = std::move(loan->buffer);  // it is its turn
    Status sent = send(std::span<const std::byte>{buffer.get(), bytes}, wait);
    loan->buffer = std::move(buffer);
    if (sent || !keeps_loan(sent.error().error)) {
      drop(id);
    }
    return sent;
  }
  Status open = obstacle();
  if (open) {
    if (writer_.stage_loan(bytes)) {
      tally_.copied();
    }
    writer_.publish();
    published();
  } else {
    writer_.cancel_loan();
  }
  drop(id);
  return open;
}

Status MappedSender::cancel(std::uint64_t id) {
  const Loan* loan = find(id);
  if (loan == nullptr) {
    return fail(EINVAL, "no such loan");
  }
  if (!loan->block && !loan->buffer) {
    writer_.cancel_loan();
  }
  drop(id);
  return {};
}

MappedSender::Loan* MappedSender::find(std::uint64_t id) {
  const auto found = std::ranges::find(loans_, id, &Loan::id);
  return found == loans_.end() ? nullptr : &*found;
}

void MappedSender::drop(std::uint64_t id) {
  Loan* loan = find(id);
  if (loan->block) {
    attachment_.seat->member->free(*loan->block);
  }
  std::swap(*loan, loans_.back());
  loans_.pop_back();
}

Result<bool> MappedSender::send_block(PooledMessage& message, const Wait& wait) {
  if (const Status checked = check_length(message.length); !checked) {
    return std::unexpected(checked.error());
  }
  bool gone = false;
  Need need;
  const Status sent =
      when_room(need, wait, [&]() -> Status { return try_commit_block(message, need, gone); });
  if (!sent) {
    return std::unexpected(sent.error());
  }
  return gone;
}

Status MappedSender::try_commit_block(PooledMessage& message, Need& need, bool& gone) {
  if (Status open = ready_to_stage(); !open) {
    return open;
  }
  if (attachment_.shares_pool() && attachment_.seat->member == message.member) {
    need = {.bytes = 0, .use = LaneWriter::Use::block};
    if (Status room = explain(writer_.room_for(0, LaneWriter::Use::block)); !room) {
      return room;
    }
    if (Status handed = hand_over(message, gone); !handed || gone) {
      return handed;
    }
  }
  need = {.bytes = record_bytes(message.length), .use = LaneWriter::Use::message};
  Status sent = explain(stage(message.bytes()));
  if (sent) {
    writer_.publish();
    tally_.copied();
    published();
  }
  return sent;
}

// There is room for the record. Not gone, without an error: the peer has left the pool meanwhile,
// and the block was taken back; the record that named it means nothing any more.
Status MappedSender::hand_over(PooledMessage& message, bool& gone) {
  pool::Slab& slab = message.member->slab();
  const pool::LaneNumber lane = attachment_.seat->lane;
  const auto sent = slab.hand_over(message.block, lane);
  if (!sent) {
    return fail(EPROTO, "somebody has taken the block away");
  }
  const flowfs_block named{.pool = message.member->serial(),
                           .block = sent->block,
                           .generation = sent->generation,
                           .offset = message.offset,
                           .length = message.length};
  const LaneWriter::Outcome staged = writer_.stage_block(named);
  FLOWFS_CHECK(staged == LaneWriter::Outcome::ok);  // there was room
  writer_.publish();
  published();
  Status open = obstacle();
  gone = (open && attachment_.shares_pool()) || !slab.take_back(*sent, lane);
  if (gone) {
    return {};
  }
  message.block = *sent;
  return open;
}

}  // namespace flowfs::lib
