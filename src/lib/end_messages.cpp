// SPDX-License-Identifier: BSD-3-Clause
// The calls that move messages: each in its turn, in the mode of the end.
#include <algorithm>
#include <utility>

#include "lib/end.hpp"

namespace flowfs::lib {

template <typename Call>
std::invoke_result_t<Call, Sender&> End::sending(const Wait& wait, Call call) {
  if (!may_send_) {
    return fail(EBADF, "opened to receive only");
  }
  if (const Status up = establish(wait); !up) {
    return std::unexpected(up.error());
  }
  if (const Status ours = is_ours(); !ours) {
    return std::unexpected(ours.error());
  }
  const auto turn = take_turn(send_mutex_, wait);
  if (!turn) {
    return std::unexpected(turn.error());
  }
  return call(*sender_);
}

template <typename Call>
std::invoke_result_t<Call, Receiver&> End::receiving(const Wait& wait, Call call) {
  if (!may_receive_) {
    return fail(EBADF, "opened to send only");
  }
  if (const Status up = establish(wait); !up) {
    return std::unexpected(up.error());
  }
  if (const Status ours = is_ours(); !ours) {
    return std::unexpected(ours.error());
  }
  const auto turn = take_turn(receive_mutex_, wait);
  if (!turn) {
    return std::unexpected(turn.error());
  }
  return call(*receiver_);
}

Status End::send(std::span<const std::byte> message, const Wait& wait) {
  return sending(wait, [&](Sender& sender) { return sender.send(message, wait); });
}

Status End::send(Pieces message, const Wait& wait) {
  return sending(wait, [&](Sender& sender) { return sender.send(message, wait); });
}

Result<std::size_t> End::send_many(Pieces messages, const Wait& wait) {
  return sending(wait, [&](Sender& sender) { return sender.send_many(messages, wait); });
}

Result<Space> End::loan(std::size_t bytes, const Wait& wait) {
  // relaxed: a loan that another thread makes meanwhile may go by the value before.
  const std::size_t least = block_least_.load(std::memory_order_relaxed);
  return sending(wait, [&](Sender& sender) { return sender.loan(bytes, least, wait); });
}

Status End::commit(std::uint64_t id, std::size_t bytes, const Wait& wait) {
  return sending(wait, [&](Sender& sender) { return sender.commit(id, bytes, wait); });
}

Status End::cancel(std::uint64_t id) {
  return sending(Wait::for_ever(), [&](Sender& sender) { return sender.cancel(id); });
}

Result<std::size_t> End::receive(Pieces into, const Wait& wait) {
  if (total_bytes(into) == 0) {
    return fail(EINVAL, "no room for any message");
  }
  return receiving(wait, [&](Receiver& receiver) { return receiver.receive(into, wait); });
}

Result<std::size_t> End::receive_many(std::span<iovec> into, const Wait& wait) {
  const auto is_empty = [](const iovec& piece) { return piece.iov_len == 0; };
  if (into.empty() || std::ranges::any_of(into, is_empty)) {
    return fail(EINVAL, "no room for any message");
  }
  return receiving(wait, [&](Receiver& receiver) { return receiver.receive_many(into, wait); });
}

Result<View> End::borrow(const Wait& wait) {
  return receiving(wait, [&](Receiver& receiver) { return receiver.borrow(wait); });
}

Status End::release(std::uint64_t id) {
  return receiving(Wait::for_ever(), [&](Receiver& receiver) { return receiver.release(id); });
}

Result<std::uint64_t> End::skip() {
  return receiving(kAtOnce, [](Receiver& receiver) { return receiver.skip(); });
}

// The two ends may be the same: the turn of receiving is over before that of sending begins.
Status End::forward(End& from, std::uint64_t id, const Wait& wait) {
  if (from.mode() == Mode::mapped) {
    const auto block =
        from.with_receiver([&](Receiver& receiver) { return receiver.take_block(id); });
    if (block) {
      return forward_block(from, id, *block, wait);
    }
  }
  const auto view = from.receiving(wait, [&](Receiver& receiver) -> Result<View> {
    if (const Status settled = receiver.settle(id); !settled) {
      return std::unexpected(settled.error());
    }
    const auto found = receiver.find_view(id);
    return found ? Result<View>(*found) : fail(EINVAL, "not borrowed");
  });
  if (!view) {
    return std::unexpected(view.error());
  }
  const Status sent = send(view->bytes, wait);
  return sent ? from.release(id) : sent;
}

Status End::forward_block(End& from, std::uint64_t id, PooledMessage message, const Wait& wait) {
  const auto gone = sending(wait, [&](Sender& sender) { return sender.send_block(message, wait); });
  if (!gone) {
    from.with_receiver([&](Receiver& receiver) { receiver.put_block_back(id, message); });
    return std::unexpected(gone.error());
  }
  if (!*gone) {
    message.member->free(message.block);
  }
  return {};
}

}  // namespace flowfs::lib
