// SPDX-License-Identifier: BSD-3-Clause
// The receiving direction of a mapped member of a bus: it reads the bus's log where it lies
// (docs/dataplane.md, "Bus logs").
//
// Threads: one at a time.
// Errors: as flowfs.h: EAGAIN nothing to do now, ETIMEDOUT at the deadline, ECONNABORTED,
// EPROTO, EMSGSIZE, EBUSY what is borrowed from the bus's former log comes first, ESTALE what was
// borrowed has been overtaken.
// Invariants:
//   1. The cursors never pass a message that is borrowed.
// Peer death: where the log ends, and that another follows it, is in the status slot.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "lib/bus_attachment.hpp"
#include "lib/sides.hpp"
#include "lib/spin.hpp"
#include "pool/bell.hpp"
#include "pool/bus_log.hpp"
#include "pool/lane.hpp"

namespace flowfs::lib {

class BusReceiver final : public MappedReceiving {
 public:
  BusReceiver(const BusAttachment& attachment, SpinBudget spin);

  Result<std::size_t> receive(Pieces into, const Wait& wait) override;
  Result<std::size_t> receive_many(std::span<iovec> into, const Wait& wait) override;
  Result<View> borrow(const Wait& wait) override;
  Status release(std::uint64_t id) override;
  [[nodiscard]] std::optional<View> find_view(std::uint64_t id) const override;
  Status settle(std::uint64_t id) override;
  Result<std::uint64_t> skip() override;

  // The bus rings for every message, and polls for this member by itself.
  void ring_when_ready() override {}
  bool is_ready() override;
  std::optional<Doorbell> arm() override;
  void disarm() override {}

 private:
  struct Borrowed {
    std::uint64_t id = 0;
    std::span<const std::byte> bytes;
    pool::Position begin{};       // in the log, and its number
    std::vector<std::byte> copy;  // of the bytes, once they were settled
  };
  // False: it has been shut down. EAGAIN.
  Result<bool> look(pool::LogReader::Record& record);
  [[nodiscard]] Result<bool> nothing(bool corrupt) const;
  Result<std::size_t> try_receive(Pieces into);
  bool copy(const pool::LogReader::Record& record, Pieces into);
  Status try_borrow(View& view);
  void begin_log();
  Status follow();
  void step_over(std::size_t bytes);
  void publish();
  void tell() const;
  // In this log.
  [[nodiscard]] std::uint64_t lost() const { return reader_->lost() + passed_over_; }
  [[nodiscard]] pool::Position position() const {
    return {.hot = reader_->position(), .bulk = reader_->sequence(), .sequence = 0};
  }
  [[nodiscard]] bool is_intact(const Borrowed& message) const;
  void sleep(const std::shared_ptr<const MappedLog>& log, std::uint32_t bell, Instant deadline);

  // Calls `attempt` until it returns something else than EAGAIN, or the wait is over.
  template <typename Attempt>
  Status when_something(const Wait& wait, Attempt attempt) {
    while (true) {
      Status done = attempt();
      const auto something = [&] {
        done = attempt();
        return !is_not_yet(done);
      };
      if (!is_not_yet(done) || !wait.blocks || spin_.spin(something, reader_->sequence())) {
        return done;
      }
      if (wait.is_over()) {
        return wait.timed_out();
      }
      if (!spin_.may_sleep()) {
        continue;
      }
      // The look may take up another log: the bell is that of the one before, which was rung.
      const std::shared_ptr<const MappedLog> log = log_;
      // acquire: taken before the look, so that a ring that answers what it misses changes it.
      const std::uint32_t bell = pool::shared(log->header().bell).load(std::memory_order_acquire);
      if (something()) {
        return done;
      }
      if (log == log_) {
        sleep(log, bell, wait.deadline());
      }
    }
  }

  const BusAttachment& attachment_;
  std::shared_ptr<const MappedLog> log_;
  std::optional<pool::LogReader> reader_;
  std::optional<pool::CursorPublisher> cursors_;  // none where nobody asks: the only sender's
  std::optional<pool::Bell> bell_;
  SpinBudget spin_;
  std::vector<Borrowed> borrowed_;  // in the order of the messages
  std::vector<std::byte> scratch_;
  std::uint64_t last_id_ = 0;
  std::uint64_t read_bytes_ = 0;   // in this log
  std::uint64_t passed_over_ = 0;  // by skip(), likewise
  std::uint64_t lost_before_ = 0;  // in former logs
};

}  // namespace flowfs::lib
