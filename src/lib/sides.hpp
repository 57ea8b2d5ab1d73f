// SPDX-License-Identifier: BSD-3-Clause
// The two directions of an end, whatever is behind them: a flow's lane, a bus's log, or read and
// write.
//
// Threads: one at a time in each direction; the two directions at once.
// Errors: as flowfs.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/futex.hpp"
#include "base/result.hpp"
#include "lib/packet.hpp"
#include "lib/pool_member.hpp"
#include "lib/wait.hpp"

namespace flowfs::lib {

class Sender {
 public:
  Sender() = default;
  virtual ~Sender() = default;
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  virtual Status send(std::span<const std::byte> message, const Wait& wait) = 0;
  virtual Status send(Pieces message, const Wait& wait) = 0;
  // Each piece is a message. How many were sent; waits only before the first.
  virtual Result<std::size_t> send_many(Pieces messages, const Wait& wait) = 0;
  // `block_least`: from where on a block of a pool is lent, where there is one to lend; 0: from
  // what does not lie in the hot ring.
  virtual Result<Space> loan(std::size_t bytes, std::size_t block_least, const Wait& wait) = 0;
  // The loan is over, but after EAGAIN, ETIMEDOUT, EBUSY and EINVAL.
  virtual Status commit(std::uint64_t id, std::size_t bytes, const Wait& wait) = 0;
  virtual Status cancel(std::uint64_t id) = 0;
  // Hands the block over where the peer shares the pool, else copies it. Whether the block is gone;
  // otherwise it is still the caller's, in the generation that `message` says now.
  virtual Result<bool> send_block(PooledMessage& message, const Wait& wait) = 0;
};

class Receiver {
 public:
  Receiver() = default;
  virtual ~Receiver() = default;
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  // The length of the message; 0 at the end.
  virtual Result<std::size_t> receive(Pieces into, const Wait& wait) = 0;
  // One message into each piece, whose length becomes the message's. How many, 0 at the end; waits
  // only before the first.
  virtual Result<std::size_t> receive_many(std::span<iovec> into, const Wait& wait) = 0;
  virtual Result<View> borrow(const Wait& wait) = 0;
  // ESTALE: released, but perhaps written over before.
  virtual Status release(std::uint64_t id) = 0;
  [[nodiscard]] virtual std::optional<View> find_view(std::uint64_t id) const = 0;
  // Makes sure that what is borrowed stays as it is from now on. ESTALE: it has not until now.
  virtual Status settle(std::uint64_t /*id*/) { return {}; }
  // Passes over what is unread but for the newest message: how many. EOPNOTSUPP: a flow.
  virtual Result<std::uint64_t> skip() { return fail(EOPNOTSUPP, "a flow loses nothing"); }
  // Where it lies in a block, that is no longer borrowed but the caller's; else nothing.
  virtual std::optional<PooledMessage> take_block(std::uint64_t /*id*/) { return std::nullopt; }
  // Undoes take_block().
  virtual void put_block_back(std::uint64_t /*id*/, const PooledMessage& /*message*/) {}
};

// The word to sleep on until something has changed, and what keeps it mapped.
struct Doorbell {
  const FutexWord* word = nullptr;
  std::uint32_t value = 0;
  std::shared_ptr<const void> keeps;
};

// A direction through shared memory, as a set and a poll see it.
class Pollable {
 public:
  Pollable() = default;
  virtual ~Pollable() = default;
  Pollable(const Pollable&) = delete;
  Pollable& operator=(const Pollable&) = delete;

  // From then on an EAGAIN is followed by a ring when the call would not wait, for whoever polls.
  virtual void ring_when_ready() = 0;
  // Sending: whether a message of any length has room; receiving: whether there is one. Or neither
  // will ever be.
  virtual bool is_ready() = 0;
  // From here to disarm() the doorbell is rung when that becomes so. Nothing: it is so now.
  virtual std::optional<Doorbell> arm() = 0;
  virtual void disarm() = 0;
};

class MappedSending : public Sender, public Pollable {};
class MappedReceiving : public Receiver, public Pollable {};

// What a mapped end has.
class MappedSides {
 public:
  MappedSides() = default;
  virtual ~MappedSides() = default;
  MappedSides(const MappedSides&) = delete;
  MappedSides& operator=(const MappedSides&) = delete;

  virtual MappedSending& sending() = 0;
  virtual MappedReceiving& receiving() = 0;
  // In a forked child, which has no part in the mappings.
  virtual void close_files() = 0;
};

}  // namespace flowfs::lib
