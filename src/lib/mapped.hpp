// SPDX-License-Identifier: BSD-3-Clause
// The two directions of an end in mapped mode (docs/dataplane.md).
//
// Threads: one at a time in each direction; the two directions at once.
// Errors: as flowfs.h: EAGAIN nothing to do now, ETIMEDOUT at the deadline, EPIPE, EPROTO,
// EMSGSIZE. Peer death: the daemon ends the peer's lane in the status slot and rings the bell that
// is slept on; where the peer went back to file mode, each direction takes up its new segment by
// itself.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "base/clock.hpp"
#include "base/result.hpp"
#include "lib/attachment.hpp"
#include "lib/spin.hpp"
#include "pool/bell.hpp"
#include "pool/lane.hpp"

namespace flowfs::lib {

// Until when a call waits.
struct Wait {
  bool blocks = false;
  Instant deadline = kNever;
};

class MappedSender {
 public:
  MappedSender(const Attachment& attachment, SpinBudget spin);

  Status send(std::span<const std::byte> message, const Wait& wait);
  // From then on an EAGAIN is followed by a ring when there is room, for whoever polls.
  void ring_when_ready() { rings_.store(true, std::memory_order_relaxed); }
  // Wakes a thread that waits in send(), once: it may be just about to. From another thread.
  void nudge() const;

 private:
  Status try_send(std::span<const std::byte> message);
  Status obstacle() const;
  bool can_go_on(std::size_t bytes);
  Status follow();
  void take_up(std::shared_ptr<const PeerSegment> peer);

  const Attachment& attachment_;
  std::shared_ptr<const PeerSegment> peer_;
  std::optional<pool::LaneWriter> writer_;
  std::optional<pool::Bell> bell_;
  pool::Sleeper sleeper_;
  SpinBudget spin_;
  std::atomic<bool> rings_ = false;
  std::atomic<const FutexWord*> slept_on_ = nullptr;
};

class MappedReceiver {
 public:
  MappedReceiver(const Attachment& attachment, SpinBudget spin);

  // The length of the message; 0 at the end.
  Result<std::size_t> receive(std::span<std::byte> into, const Wait& wait);
  void ring_when_ready() { rings_.store(true, std::memory_order_relaxed); }

 private:
  // What the status slot says about the lane that is read.
  struct Lane {
    bool retired = false;
    std::uint64_t end = FLOWFS_LANE_OPEN;
    bool operator==(const Lane&) const = default;
  };
  [[nodiscard]] Lane look_at_status() const;
  Result<std::size_t> try_receive(std::span<std::byte> into);
  Result<std::size_t> take(const pool::LaneReader::Record& record, std::span<std::byte> into);
  pool::LaneReader::Outcome peek(pool::LaneReader::Record& record, bool& retired);
  void publish();
  Status follow();
  void take_up(std::shared_ptr<const PeerSegment> peer, const pool::Position& start);

  const Attachment& attachment_;
  std::shared_ptr<const PeerSegment> peer_;
  std::optional<pool::LaneReader> reader_;
  std::optional<pool::CursorPublisher> cursors_;
  std::optional<pool::Bell> bell_;
  pool::Sleeper sleeper_;
  SpinBudget spin_;
  std::atomic<bool> rings_ = false;
};

}  // namespace flowfs::lib
