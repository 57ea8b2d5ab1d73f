// SPDX-License-Identifier: BSD-3-Clause
// The sending direction of a mapped member of a bus: into its own lane, from where the bus takes
// what it sends; or, the only sender of a lossy bus, into the bus's log itself
// (docs/dataplane.md, "Bus logs").
//
// Threads: one at a time.
// Errors: as flowfs.h: EAGAIN nothing to do now, ETIMEDOUT at the deadline, ECONNABORTED, EPROTO,
// EPIPE shut down, EBUSY what is lent comes first.
// Peer death: where the member is cut off, the daemon says so in the status slot and rings the bell
// that is slept on.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "lib/bus_attachment.hpp"
#include "lib/room.hpp"
#include "lib/sides.hpp"
#include "lib/spin.hpp"
#include "pool/bell.hpp"
#include "pool/bus_log.hpp"
#include "pool/lane.hpp"

namespace flowfs::lib {

// Where a message is laid down before it is shown.
class BusOutlet {
 public:
  BusOutlet() = default;
  virtual ~BusOutlet() = default;
  BusOutlet(const BusOutlet&) = delete;
  BusOutlet& operator=(const BusOutlet&) = delete;

  // The place of a message of `bytes`, and nothing else until stage() or cancel(). EAGAIN; EPROTO.
  virtual Result<std::span<std::byte>> lend(std::size_t bytes) = 0;
  virtual void stage(std::size_t bytes) = 0;
  virtual void cancel() = 0;
  // Shows what is staged to whom it concerns.
  virtual void publish() = 0;
  // Whether lend() would not give EAGAIN, for this length, or for any. seq_cst.
  virtual bool has_room(std::size_t bytes) = 0;
  virtual bool has_room_for_any() = 0;
  // Whether all that was published has been taken.
  virtual bool is_drained() = 0;
};

class BusSender final : public MappedSending {
 public:
  BusSender(const BusAttachment& attachment, SpinBudget spin);
  // Waits a little for what a full bus has still to take.
  ~BusSender() override;

  Status send(std::span<const std::byte> message, const Wait& wait) override;
  Status send(Pieces message, const Wait& wait) override;
  Result<std::size_t> send_many(Pieces messages, const Wait& wait) override;
  Result<Space> loan(std::size_t bytes, std::size_t block_least, const Wait& wait) override;
  Status commit(std::uint64_t id, std::size_t bytes, const Wait& wait) override;
  Status cancel(std::uint64_t id) override;
  // Never takes the block.
  Result<bool> send_block(PooledMessage& message, const Wait& wait) override;

  void ring_when_ready() override { room_.ring_when_ready(); }
  bool is_ready() override;
  std::optional<Doorbell> arm() override;
  void disarm() override;

 private:
  struct Loan {
    std::uint64_t id = 0;
    std::size_t bytes = 0;
  };
  [[nodiscard]] Status check_length(std::size_t bytes) const;
  [[nodiscard]] Status ready_to_stage() const;
  Status stage(Pieces message);
  bool sleep(std::size_t bytes, const Wait& wait);
  std::uint32_t begin_sleep();
  void drain();

  // Calls `attempt` until it returns something else than EAGAIN, or the wait is over.
  template <typename Attempt>
  Status when_room(std::size_t bytes, const Wait& wait, Attempt attempt) {
    return room_.until(
        wait, 0, [&] { disarm(); }, attempt, [&] { return can_go_on(bytes); },
        [&] { return sleep(bytes, wait); });
  }
  bool can_go_on(std::size_t bytes) { return outlet_->has_room(bytes) || !attachment_.may_send(); }

  const BusAttachment& attachment_;
  std::unique_ptr<BusOutlet> outlet_;
  std::optional<pool::Sleeper> sleeper_;  // none where there is always room
  RoomWait room_;
  std::size_t longest_;
  std::optional<Loan> loan_;
  std::uint64_t last_id_ = 0;
};

}  // namespace flowfs::lib
