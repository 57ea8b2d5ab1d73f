// SPDX-License-Identifier: BSD-3-Clause
#include "bus/ethernet.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace flowfs::bus {
namespace {

// `bytes` lie within the frame: the caller has compared its length.
std::uint64_t big_endian(std::span<const std::byte> frame, std::size_t at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (const std::byte byte : frame.subspan(at, bytes)) {
    value = value << 8 | std::to_integer<std::uint64_t>(byte);
  }
  return value;
}

bool has_tag(std::span<const std::byte> frame) {
  return frame.size() >= kHeaderBytes + kTagBytes &&
         big_endian(frame, kAddressesBytes, 2) == kTagType;
}

}  // namespace

std::string to_string(MacAddress address) {
  const auto bits = static_cast<std::uint64_t>(address);
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bits >> 40 & 0xff,
                     bits >> 32 & 0xff, bits >> 24 & 0xff, bits >> 16 & 0xff, bits >> 8 & 0xff,
                     bits & 0xff);
}

std::optional<FrameHeader> parse_frame(std::span<const std::byte> frame) {
  if (frame.size() < kHeaderBytes) {
    return std::nullopt;
  }
  FrameHeader header{.destination = MacAddress(big_endian(frame, 0, 6)),
                     .source = MacAddress(big_endian(frame, 6, 6)),
                     .tci = std::nullopt};
  if (big_endian(frame, kAddressesBytes, 2) != kTagType) {
    return header;
  }
  if (!has_tag(frame)) {
    return std::nullopt;  // it ends inside its tag, or the type after it
  }
  header.tci = static_cast<std::uint16_t>(big_endian(frame, kAddressesBytes + 2, 2));
  return header;
}

void EditedFrame::copy_to(std::span<std::byte> out) const {
  auto at = std::ranges::copy(head, out.begin()).out;
  at = std::ranges::copy(std::span(tag).first(tag_bytes), at).out;
  std::ranges::copy(rest, at);
}

EditedFrame edited(std::span<const std::byte> frame, Edit edit) {
  const bool adds = edit.kind == Edit::Kind::tag_added;
  const bool fits = adds ? frame.size() >= kHeaderBytes : has_tag(frame);
  if (edit.kind == Edit::Kind::as_is || !fits) {
    return {.head = frame, .rest = {}};
  }
  EditedFrame result{.head = frame.first(kAddressesBytes),
                     .rest = frame.subspan(kAddressesBytes + (adds ? 0 : kTagBytes))};
  if (edit.kind != Edit::Kind::tag_removed) {
    result.tag = {std::byte{kTagType >> 8}, std::byte{kTagType & 0xff},
                  static_cast<std::byte>(edit.tci >> 8), static_cast<std::byte>(edit.tci & 0xff)};
    result.tag_bytes = kTagBytes;
  }
  return result;
}

}  // namespace flowfs::bus
