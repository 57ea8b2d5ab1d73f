// SPDX-License-Identifier: BSD-3-Clause
#include "bus/loop_guard.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "bus/ethernet.hpp"

namespace flowfs::bus {
namespace {

// Frames that differ further on do so in their length or a checksum before it, nearly always.
constexpr std::size_t kDigested = 96;

std::uint64_t mix(std::uint64_t digest, std::uint64_t word) {
  digest = (digest ^ word) * 0x9e3779b97f4a7c15U;
  return digest ^ digest >> 29;
}

// Without the tag's four bytes: a loop may lead through ports that add and remove it.
std::uint64_t digest_of(std::span<const std::byte> frame) {
  const EditedFrame plain = edited(frame, {Edit::Kind::tag_removed});
  std::array<std::byte, kDigested> start{};
  const auto head = plain.head.first(std::min(plain.head.size(), kDigested));
  const auto rest = plain.rest.first(std::min(plain.rest.size(), kDigested - head.size()));
  std::ranges::copy(rest, std::ranges::copy(head, start.begin()).out);
  std::uint64_t digest = plain.size();
  for (std::size_t at = 0; at < kDigested; at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, start.data() + at, sizeof(word));
    digest = mix(digest, word);
  }
  return digest;
}

}  // namespace

std::optional<PortNumber> LoopGuard::seen(std::span<const std::byte> frame, PortNumber port,
                                          Instant now) {
  const std::uint64_t digest = digest_of(frame);
  Place& place = places_[digest % kPlaces];
  if (place.digest != digest || now - place.since >= kWindow) {
    place = {.digest = digest, .since = now, .last = port, .visits = {{{port, 1}}}};
    return std::nullopt;
  }
  if (std::exchange(place.last, port) == port) {
    return std::nullopt;
  }
  const auto with = visit(place, port);
  if (with) {
    place = {};
  }
  return with;
}

// One more visit of `port`, which the frame came to from another.
std::optional<PortNumber> LoopGuard::visit(Place& place, PortNumber port) {
  Visits* mine = nullptr;
  for (Visits& visits : place.visits) {
    if (visits.port == port || visits.count == 0) {
      mine = &visits;
      break;
    }
  }
  if (mine == nullptr) {
    return std::nullopt;
  }
  *mine = {port, mine->count + 1};
  if (mine->count < kReturns) {
    return std::nullopt;
  }
  for (const Visits& visits : place.visits) {
    if (visits.port != port && visits.count >= kReturns) {
      return visits.port;
    }
  }
  return std::nullopt;
}

}  // namespace flowfs::bus
