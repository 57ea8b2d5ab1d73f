// SPDX-License-Identifier: BSD-3-Clause
// One direction of an encrypted flow as the daemon has it: it seals what the writer writes as a
// file and opens what the reader reads as one, and gives a program its part of the key.
//
// Shape: docs/oap.md, "Records". A record stays as it was sealed wherever it lies (queue, lane,
// queue again), so changing hands moves no number.
// Threads: the loop's.
// Owns: the secret of the direction, as long as the flow.
// Invariants:
//   1. At any time one party may seal: the daemon, or the program that was given the key last. Each
//      has a range of epochs that no other ever has (kEpochs of each), and ranges only go up; so no
//      nonce is used twice, whatever a program did with its own.
//   2. mark() is behind the last message that the reader has taken whole while the daemon opened
//      for it. Nothing before it is ever opened again, by the daemon or by a program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "auth/record.hpp"
#include "base/clock.hpp"
#include "base/result.hpp"
#include "flow/message_queue.hpp"

namespace flowfs::flow {

// What the handshake of a flow came to.
struct Keys {
  auth::Choice choice;  // that encrypts
  auth::Secret to_server;
  auth::Secret to_client;
  auth::RekeyLimits limits = {};  // but for epochs, of which every holder has its own
};

class Sealing {
 public:
  static constexpr std::size_t kOverhead = auth::kRecordOverhead;
  static constexpr std::uint32_t kEpochs = 1U << 20;  // of one holder: by time alone, four years
  static constexpr std::uint32_t kHolders = 1U << 12;

  Sealing(const auth::Choice& choice, auth::Secret secret, const auth::RekeyLimits& limits)
      : choice_(choice), secret_(std::move(secret)), limits_(limits) {}

  // Makes a record of `plain`, kOverhead longer. False: it cannot be sealed, now or later.
  [[nodiscard]] bool seal(std::span<const std::byte> plain, std::span<std::byte> record);

  // Opens a copy of the record. False: it is not what was sealed, or is over.
  [[nodiscard]] bool open(std::span<const std::byte> record);
  // The message that was opened, until all of it is consumed.
  [[nodiscard]] bool is_open() const { return !opened_.empty(); }
  [[nodiscard]] std::span<const std::byte> rest() const { return opened_.front_rest(); }
  [[nodiscard]] bool begun() const { return opened_.front_begun(); }
  // Whether nothing is left of it: the reader has it, and the record is over.
  bool consume(std::size_t bytes);
  // The message is to be delivered whole again, or not at all.
  void forget_opened();

  // The program at the sending end is to seal from now on. Nothing: one does already, or there are
  // no more ranges.
  struct Range {
    std::uint32_t first_epoch = 0;
    std::uint32_t last_epoch = 0;
  };
  std::optional<Range> lend();
  // It has left: the daemon seals again.
  void take_back();

  [[nodiscard]] const auth::RecordMark& mark() const { return mark_; }
  [[nodiscard]] const auth::Choice& choice() const { return choice_; }
  [[nodiscard]] auth::View secret() const { return secret_.bytes(); }

 private:
  [[nodiscard]] Range range() const;
  [[nodiscard]] auth::Secret copy_secret() const;

  auth::Choice choice_;
  auth::Secret secret_;
  auth::RekeyLimits limits_;
  std::uint32_t holder_ = 0;
  bool lent_ = false;
  std::optional<auth::RecordSealer> sealer_;  // from the first message on
  std::optional<auth::RecordOpener> opener_;
  auth::RecordMark mark_;
  auth::RecordMark behind_opened_;
  MessageQueue opened_;  // at most one message
};

}  // namespace flowfs::flow
