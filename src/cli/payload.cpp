// SPDX-License-Identifier: BSD-3-Clause
#include "cli/payload.hpp"

#include <algorithm>

namespace flowfs::cli {
namespace {

constexpr std::size_t kSequenceBytes = 8;

}  // namespace

void put_sequence(std::uint64_t sequence, std::span<std::byte> payload) {
  for (std::size_t at = 0; at < std::min(payload.size(), kSequenceBytes); ++at) {
    payload[at] = static_cast<std::byte>(sequence >> (8 * at));
  }
}

void fill_payload(std::uint64_t sequence, std::span<std::byte> payload) {
  put_sequence(sequence, payload);
  for (std::size_t at = kSequenceBytes; at < payload.size(); ++at) {
    payload[at] = static_cast<std::byte>(sequence + at);
  }
}

void SequenceCheck::see(std::span<const std::byte> payload) {
  ++seen_;
  const std::size_t bytes = std::min(payload.size(), kSequenceBytes);
  std::uint64_t sequence = 0;
  for (std::size_t at = 0; at < bytes; ++at) {
    sequence |= std::to_integer<std::uint64_t>(payload[at]) << (8 * at);
  }
  const std::uint64_t range = bytes == kSequenceBytes ? UINT64_MAX : (1ULL << (8 * bytes)) - 1;
  const std::uint64_t ahead = (sequence - expected_) & range;
  if (ahead > range / 2) {
    ++disordered_;  // nothing is known about those that follow: the same one is still expected
    return;
  }
  lost_ += ahead;
  expected_ += ahead + 1;
}

}  // namespace flowfs::cli
