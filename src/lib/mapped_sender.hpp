// SPDX-License-Identifier: BSD-3-Clause
// The sending direction of an end in mapped mode (docs/dataplane.md).
//
// Threads: one at a time.
// Errors: as flowfs.h: EAGAIN nothing to do now, ETIMEDOUT at the deadline, EPIPE, EPROTO, EBUSY
// what is lent in the lane comes first.
// Owns: the blocks it has lent; they are free again when it is destroyed.
// Peer death: the daemon ends the peer's lane in the status slot and rings the bell that is slept
// on; where the peer went back to file mode, its new segment is taken up by itself.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "lib/attachment.hpp"
#include "lib/packet.hpp"
#include "lib/room.hpp"
#include "lib/sides.hpp"
#include "lib/spin.hpp"
#include "lib/tally.hpp"
#include "lib/wait.hpp"
#include "pool/bell.hpp"
#include "pool/lane.hpp"

namespace flowfs::lib {

class MappedSender final : public MappedSending {
 public:
  MappedSender(const Attachment& attachment, SpinBudget spin);
  ~MappedSender() override;

  Status send(std::span<const std::byte> message, const Wait& wait) override;
  Status send(Pieces message, const Wait& wait) override;
  Result<std::size_t> send_many(Pieces messages, const Wait& wait) override;

  // mapped_loans.cpp
  Result<Space> loan(std::size_t bytes, std::size_t block_least, const Wait& wait) override;
  Status commit(std::uint64_t id, std::size_t bytes, const Wait& wait) override;
  Status cancel(std::uint64_t id) override;
  Result<bool> send_block(PooledMessage& message, const Wait& wait) override;

  void ring_when_ready() override { room_.ring_when_ready(); }
  bool is_ready() override;
  std::optional<Doorbell> arm() override;
  void disarm() override { sleeper_.end(); }
  // Wakes a thread that waits for room, once: it may be just about to. From another thread.
  void nudge() const;

 private:
  struct Loan {
    std::uint64_t id = 0;
    std::size_t bytes = 0;
    std::optional<pool::BlockRef> block;
    std::unique_ptr<std::byte[]> buffer;  // where the flow is encrypted; with neither: in the lane
  };
  // What a call waits for room for.
  struct Need {
    std::size_t bytes = 0;
    pool::LaneWriter::Use use = pool::LaneWriter::Use::message;
  };
  [[nodiscard]] Status check_length(std::size_t bytes) const;
  [[nodiscard]] Status obstacle() const;
  // A message is being written that none may pass: all but those in blocks.
  [[nodiscard]] bool has_loan() const;
  [[nodiscard]] Status ready_to_stage() const;
  Status explain(pool::LaneWriter::Outcome outcome);
  // Seals it on the way, where the flow is encrypted.
  pool::LaneWriter::Outcome stage(std::span<const std::byte> message);
  [[nodiscard]] std::size_t record_bytes(std::size_t message_bytes) const {
    return message_bytes + attachment_.answer.overhead_bytes;
  }
  void published();
  Status try_send_many(Pieces messages, std::size_t& sent);
  std::optional<Space> lend_block(std::size_t bytes);
  Space lend_buffer(std::size_t bytes);
  Status try_commit_block(PooledMessage& message, Need& need, bool& gone);
  Status hand_over(PooledMessage& message, bool& gone);
  Loan* find(std::uint64_t id);
  void drop(std::uint64_t id);
  bool can_go_on(const Need& need);
  Status follow();
  bool sleep(const Need& need, const Wait& wait);

  // Calls `attempt` until it returns something else than EAGAIN, or the wait is over. It may change
  // `need`.
  template <typename Attempt>
  Status when_room(Need& need, const Wait& wait, Attempt attempt) {
    return room_.until(
        wait, writer_.position().sequence, [&] { sleeper_.end(); }, attempt,
        [&] { return can_go_on(need); }, [&] { return sleep(need, wait); });
  }

  const Attachment& attachment_;
  std::shared_ptr<const PeerSegment> peer_;
  pool::LaneWriter writer_;
  pool::Bell bell_;
  pool::Sleeper sleeper_;
  RoomWait room_;
  Tally tally_;
  std::vector<Loan> loans_;
  std::uint64_t last_id_ = 0;
  std::atomic<const FutexWord*> slept_on_ = nullptr;
};

}  // namespace flowfs::lib
