// SPDX-License-Identifier: BSD-3-Clause
// What flowctl puts into its messages, so that the other end can tell whether all of them came,
// once and in order. Pure.
//
// Shape: the message's number from 1 on, little end first, as many of its eight bytes as fit; the
// rest is up to the command.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace flowfs::cli {

void put_sequence(std::uint64_t sequence, std::span<std::byte> payload);

// The number, and behind it a pattern that differs from message to message.
void fill_payload(std::uint64_t sequence, std::span<std::byte> payload);

// Sees the messages of a flow in the order in which they come.
//
// Numbers of short messages wrap; a gap of less than half of their range counts as lost messages,
// anything else as one out of order.
class SequenceCheck {
 public:
  void see(std::span<const std::byte> payload);

  [[nodiscard]] std::uint64_t seen() const { return seen_; }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }
  [[nodiscard]] std::uint64_t disordered() const { return disordered_; }
  [[nodiscard]] bool good() const { return lost_ == 0 && disordered_ == 0; }

 private:
  std::uint64_t expected_ = 1;
  std::uint64_t seen_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t disordered_ = 0;
};

}  // namespace flowfs::cli
