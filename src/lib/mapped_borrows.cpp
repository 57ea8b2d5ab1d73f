// SPDX-License-Identifier: BSD-3-Clause
// Messages read where they lie: in the peer's lane, or in a block of the pool that was handed over.
#include <algorithm>
#include <utility>

#include "lib/mapped_receiver.hpp"

namespace flowfs::lib {

using pool::LaneReader;

Result<View> MappedReceiver::borrow(const Wait& wait) {
  View view;
  const Status done = when_something(wait, [&] { return try_borrow(view); });
  if (!done) {
    return std::unexpected(done.error());
  }
  return view;
}

Status MappedReceiver::try_borrow(View& view) {
  LaneReader::Record record;
  for (int refused = 0; refused < kMostRefused; ++refused) {
    const auto found = look(record);
    if (!found) {
      return std::unexpected(found.error());
    }
    if (!*found) {
      view = {};
      return {};
    }
    if (attachment_.sealed) {
      const std::size_t bytes = length_of(record);
      auto opened = std::make_unique_for_overwrite<std::byte[]>(bytes);
      if (!open(record, {opened.get(), bytes})) {
        continue;
      }
      view = {.bytes = {opened.get(), bytes}, .id = ++last_id_};
      borrowed_.push_back({.id = view.id,
                           .bytes = view.bytes,
                           .begin = {},
                           .block = std::nullopt,
                           .opened = std::move(opened)});
      tally_.copied();
      step_over();
      return {};
    }
    if (const auto message = take(record)) {
      view = {.bytes = *message, .id = ++last_id_};
      borrowed_.push_back(
          {.id = view.id, .bytes = *message, .begin = reader_->position(), .block = record.block});
      step_over();
      return {};
    }
  }
  return fail(EAGAIN, "nothing but what is dropped");
}

Status MappedReceiver::release(std::uint64_t id) {
  const auto found = std::ranges::find(borrowed_, id, &Borrowed::id);
  if (found == borrowed_.end()) {
    return fail(EINVAL, "not borrowed");
  }
  if (found->block) {
    free_block(*found->block);
  }
  borrowed_.erase(found);
  // Once the lane was found empty the peer may wait for this room, and no look tells it later.
  if (found_empty_ || cursors_->due(released())) {
    publish();
  }
  return {};
}

const MappedReceiver::Borrowed* MappedReceiver::first_of_lane() const {
  const auto found = std::ranges::find_if(
      borrowed_, [](const Borrowed& message) { return !message.block && !message.opened; });
  return found == borrowed_.end() ? nullptr : &*found;
}

// Up to where the peer may write again.
pool::Position MappedReceiver::released() const {
  const Borrowed* first = first_of_lane();
  return first != nullptr ? first->begin : reader_->position();
}

std::optional<View> MappedReceiver::find_view(std::uint64_t id) const {
  const auto found = std::ranges::find(borrowed_, id, &Borrowed::id);
  if (found == borrowed_.end()) {
    return std::nullopt;
  }
  return View{.bytes = found->bytes, .id = id};
}

std::optional<PooledMessage> MappedReceiver::take_block(std::uint64_t id) {
  const auto found = std::ranges::find(borrowed_, id, &Borrowed::id);
  if (found == borrowed_.end() || !found->block) {
    return std::nullopt;
  }
  const flowfs_block& block = *found->block;
  PooledMessage message{.member = attachment_.seat->member,
                        .block = {.block = block.block, .generation = block.generation},
                        .offset = block.offset,
                        .length = block.length};
  borrowed_.erase(found);
  return message;
}

void MappedReceiver::put_block_back(std::uint64_t id, const PooledMessage& message) {
  const flowfs_block block{.pool = message.member->serial(),
                           .block = message.block.block,
                           .generation = message.block.generation,
                           .offset = message.offset,
                           .length = message.length};
  borrowed_.push_back(
      {.id = id, .bytes = message.member->bytes_of(block), .begin = {}, .block = block});
}

}  // namespace flowfs::lib
