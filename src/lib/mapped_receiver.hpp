// SPDX-License-Identifier: BSD-3-Clause
// The receiving direction of an end in mapped mode (docs/dataplane.md).
//
// Threads: one at a time.
// Errors: as flowfs.h: EAGAIN nothing to do now, ETIMEDOUT at the deadline, EPROTO, EMSGSIZE, EBUSY
// what is borrowed from the peer's former segment comes first.
// Owns: the blocks that are borrowed; they are free again when it is destroyed.
// Invariants:
//   1. The cursors never pass a message of the lane that is borrowed.
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
#include "lib/sides.hpp"
#include "lib/spin.hpp"
#include "lib/tally.hpp"
#include "lib/wait.hpp"
#include "pool/bell.hpp"
#include "pool/lane.hpp"

namespace flowfs::lib {

class MappedReceiver final : public MappedReceiving {
 public:
  MappedReceiver(const Attachment& attachment, SpinBudget spin);
  ~MappedReceiver() override;

  Result<std::size_t> receive(Pieces into, const Wait& wait) override;
  Result<std::size_t> receive_many(std::span<iovec> into, const Wait& wait) override;

  // mapped_borrows.cpp
  Result<View> borrow(const Wait& wait) override;
  Status release(std::uint64_t id) override;
  std::optional<PooledMessage> take_block(std::uint64_t id) override;
  void put_block_back(std::uint64_t id, const PooledMessage& message) override;
  [[nodiscard]] std::optional<View> find_view(std::uint64_t id) const override;

  void ring_when_ready() override { rings_.store(true, std::memory_order_relaxed); }
  bool is_ready() override;
  std::optional<Doorbell> arm() override;
  void disarm() override { sleeper_.end(); }

 private:
  static constexpr int kMostRefused = 1024;  // records in one look, before others have their turn
  // What the status slot says about the lane that is read.
  struct Lane {
    bool retired = false;
    std::uint64_t end = FLOWFS_LANE_OPEN;
    bool operator==(const Lane&) const = default;
  };
  struct Borrowed {
    std::uint64_t id = 0;
    std::span<const std::byte> bytes;
    pool::Position begin{};                         // of a message in the lane
    std::optional<flowfs_block> block;              // of one in the pool
    std::unique_ptr<std::byte[]> opened = nullptr;  // of one that was sealed
  };
  [[nodiscard]] Lane look_at_status() const;
  // What is there: a record, or nothing at the end. EAGAIN: nothing yet.
  Result<bool> look(pool::LaneReader::Record& record);
  // The bytes of the record looked at; those of a block are taken. Nothing: the block is no longer
  // to be had, and the record was stepped over.
  std::optional<std::span<const std::byte>> take(const pool::LaneReader::Record& record);
  [[nodiscard]] std::size_t length_of(const pool::LaneReader::Record& record) const;
  Result<std::size_t> try_receive(Pieces into);
  // Of an encrypted flow: puts the message of the record looked at to `into`, which is as long.
  // False: it is not what was sealed, and was stepped over.
  bool open(const pool::LaneReader::Record& record, std::span<std::byte> into);
  bool open_into(const pool::LaneReader::Record& record, Pieces into);
  Status try_borrow(View& view);
  pool::LaneReader::Outcome peek(pool::LaneReader::Record& record, bool& retired);
  [[nodiscard]] pool::Position released() const;
  void step_over();
  void publish();
  void free_block(const flowfs_block& block);
  // The first message of the lane that is still borrowed.
  [[nodiscard]] const Borrowed* first_of_lane() const;
  Status follow();
  void take_up(std::shared_ptr<const PeerSegment> peer, const pool::Position& start);

  // Calls `attempt` until it returns something else than EAGAIN, or the wait is over.
  template <typename Attempt>
  Status when_something(const Wait& wait, Attempt attempt) {
    while (true) {
      sleeper_.end();  // left asleep for a poll
      Status done = attempt();
      const auto something = [&] {
        done = attempt();
        return !is_not_yet(done);
      };
      if (!is_not_yet(done) ||
          (wait.blocks && spin_.spin(something, reader_->position().sequence))) {
        return done;
      }
      if (!wait.blocks && !rings_.load(std::memory_order_relaxed)) {
        return done;
      }
      if (wait.blocks && wait.is_over()) {
        return wait.timed_out();
      }
      if (wait.blocks && !spin_.may_sleep()) {
        continue;
      }
      // The look may take up another segment: the bell is that of the one before, which was rung.
      const std::shared_ptr<const PeerSegment> peer = peer_;
      const std::uint32_t bell = sleeper_.begin(peer->header().bell);
      if (something()) {
        sleeper_.end();
        return done;
      }
      if (!wait.blocks) {
        return done;
      }
      if (peer == peer_) {
        tally_.waited();
        // Whatever ends it: look again.
        static_cast<void>(futex_wait(pool::futex_word(peer->header().bell), bell, wait.deadline()));
      }
    }
  }

  const Attachment& attachment_;
  std::shared_ptr<const PeerSegment> peer_;
  std::optional<pool::LaneReader> reader_;
  std::optional<pool::CursorPublisher> cursors_;
  std::optional<pool::Bell> bell_;
  pool::Sleeper sleeper_;
  SpinBudget spin_;
  Tally tally_;
  std::vector<Borrowed> borrowed_;  // in the order of the messages
  std::uint64_t last_id_ = 0;
  bool found_empty_ = false;  // at the last look
  bool corrupt_ = false;      // a record named what is not in the pool
  std::atomic<bool> rings_ = false;
};

}  // namespace flowfs::lib
