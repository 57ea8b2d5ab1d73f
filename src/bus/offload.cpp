// SPDX-License-Identifier: BSD-3-Clause
#include "bus/offload.hpp"

#include <algorithm>
#include <cstring>

#include "bus/ethernet.hpp"

namespace flowfs::bus {
namespace {

// struct virtio_net_hdr, whose header is not for C++: in the byte order of this machine.
struct RawHeader {
  std::uint8_t flags = 0;
  std::uint8_t segments = 0;
  std::uint16_t header_bytes = 0;
  std::uint16_t segment_bytes = 0;
  std::uint16_t checksum_from = 0;
  std::uint16_t checksum_at = 0;
};
static_assert(sizeof(RawHeader) == kOffloadBytes);

constexpr std::uint8_t kNeedsChecksum = 1;  // of flags
constexpr std::uint8_t kNoSegments = 0;
constexpr std::uint8_t kTcpOverIpv4 = 1;
constexpr std::uint8_t kTcpOverIpv6 = 4;
constexpr std::uint8_t kUdpDatagrams = 5;
constexpr std::uint8_t kCongestion = 0x80;  // beside one of the two: it may carry notes of that

constexpr std::uint16_t kServiceTagType = 0x88a8;
constexpr std::uint16_t kIpv4Type = 0x0800;
constexpr std::uint16_t kIpv6Type = 0x86dd;
constexpr std::size_t kIpv4Bytes = 20;
constexpr std::size_t kIpv6Bytes = 40;
constexpr std::size_t kTcpBytes = 20;
constexpr std::size_t kTcpSequence = 4;
constexpr std::size_t kTcpLength = 12;  // in words of four bytes, in the upper half of this byte
constexpr std::size_t kTcpFlags = 13;
constexpr std::size_t kTcpChecksum = 16;
constexpr std::uint8_t kTcp = 6;
constexpr std::size_t kUdpBytes = 8;
constexpr std::size_t kUdpLength = 4;
constexpr std::size_t kUdpChecksum = 6;
constexpr std::uint8_t kUdp = 17;
constexpr auto kFinOrPush = std::byte{0x09};
constexpr auto kWindowReduced = std::byte{0x80};

std::uint16_t get16(std::span<const std::byte> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[at]) << 8 |
                                    std::to_integer<unsigned>(bytes[at + 1]));
}

void put16(std::span<std::byte> bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::byte>(value >> 8);
  bytes[at + 1] = static_cast<std::byte>(value & 0xff);
}

std::uint32_t get32(std::span<const std::byte> bytes, std::size_t at) {
  return std::uint32_t{get16(bytes, at)} << 16 | get16(bytes, at + 2);
}

void put32(std::span<std::byte> bytes, std::size_t at, std::uint32_t value) {
  put16(bytes, at, static_cast<std::uint16_t>(value >> 16));
  put16(bytes, at + 2, static_cast<std::uint16_t>(value));
}

// The sum of 16-bit words, not folded: 64 bits hold that of any frame. Summed four bytes at a time,
// which folds to the same.
std::uint64_t sum_of(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0;
  std::size_t at = 0;
  for (; at + 4 <= bytes.size(); at += 4) {
    sum += get32(bytes, at);
  }
  if (at + 2 <= bytes.size()) {
    sum += get16(bytes, at);
    at += 2;
  }
  return at < bytes.size() ? sum + (std::to_integer<unsigned>(bytes[at]) << 8) : sum;
}

std::uint16_t checksum_of(std::uint64_t sum) {
  while (sum > 0xffff) {
    sum = (sum >> 16) + (sum & 0xffff);
  }
  return static_cast<std::uint16_t>(~sum);
}

// To UDP 0 says that there is no checksum, which IPv6 does not allow; the other way to write it
// means the same to everybody.
std::uint16_t never_none(std::uint16_t checksum) { return checksum != 0 ? checksum : 0xffff; }

// Where the headers of a TCP segment or UDP datagram are, all of them within the frame.
struct Layout {
  bool ipv6 = false;
  bool udp = false;
  std::size_t ip = 0;
  std::size_t transport = 0;
  std::size_t payload = 0;
};

std::size_t ipv4_header_bytes(std::span<const std::byte> frame, std::size_t ip) {
  return (std::to_integer<std::size_t>(frame[ip]) & 0x0f) * 4;
}

std::size_t header_bytes(std::span<const std::byte> frame, std::size_t transport, bool udp) {
  return udp ? kUdpBytes : (std::to_integer<std::size_t>(frame[transport + kTcpLength]) >> 4) * 4;
}

std::optional<Layout> layout_of(std::span<const std::byte> frame, const Offload& offload) {
  const bool udp = offload.segments == Offload::Segments::udp;
  const std::size_t least = udp ? kUdpBytes : kTcpBytes;
  const std::size_t transport = offload.checksum_from;
  if (transport + least > frame.size()) {
    return std::nullopt;
  }
  std::size_t at = kAddressesBytes;
  std::uint16_t type = get16(frame, at);
  while ((type == kTagType || type == kServiceTagType) && at + kTagBytes < transport) {
    at += kTagBytes;
    type = get16(frame, at);
  }
  Layout layout{.ipv6 = type == kIpv6Type, .udp = udp, .ip = at + 2, .transport = transport};
  layout.payload = transport + header_bytes(frame, transport, udp);
  if ((type != kIpv4Type && type != kIpv6Type) || layout.payload < transport + least ||
      layout.payload > frame.size() ||
      layout.ip + (layout.ipv6 ? kIpv6Bytes : kIpv4Bytes) > transport) {
    return std::nullopt;
  }
  // Where there is more between the two it is a tunnel, whose own headers nobody here knows.
  if (!layout.ipv6 && ipv4_header_bytes(frame, layout.ip) != transport - layout.ip) {
    return std::nullopt;
  }
  return layout;
}

// Nothing where the frame is not one of segments.
std::optional<Layout> segment_layout(std::span<const std::byte> frame, const Offload& offload) {
  return offload.segments == Offload::Segments::none ? std::nullopt : layout_of(frame, offload);
}

// `segment` is whole but for what differs from segment to segment.
void finish_segment(std::span<std::byte> segment, const Layout& layout, std::uint16_t index) {
  const auto ip = segment.subspan(layout.ip, layout.transport - layout.ip);
  const auto transport = segment.subspan(layout.transport);
  std::uint64_t pseudo = (layout.udp ? kUdp : kTcp) + transport.size();
  if (layout.ipv6) {
    put16(ip, 4, static_cast<std::uint16_t>(segment.size() - layout.ip - kIpv6Bytes));
    pseudo += sum_of(ip.subspan(8, 32));
  } else {
    put16(ip, 2, static_cast<std::uint16_t>(segment.size() - layout.ip));
    put16(ip, 4, static_cast<std::uint16_t>(get16(ip, 4) + index));
    put16(ip, 10, 0);
    put16(ip, 10, checksum_of(sum_of(ip)));
    pseudo += sum_of(ip.subspan(12, 8));
  }
  if (layout.udp) {
    put16(transport, kUdpLength, static_cast<std::uint16_t>(transport.size()));
  }
  const std::size_t checksum = layout.udp ? kUdpChecksum : kTcpChecksum;
  put16(transport, checksum, 0);
  put16(transport, checksum, never_none(checksum_of(pseudo + sum_of(transport))));
}

// Of one whose payload begins `at`, with `more` to follow.
void number_segment(std::span<std::byte> tcp, std::size_t at, bool more) {
  put32(tcp, kTcpSequence, get32(tcp, kTcpSequence) + static_cast<std::uint32_t>(at));
  if (more) {
    tcp[kTcpFlags] &= ~kFinOrPush;
  }
  if (at > 0) {
    tcp[kTcpFlags] &= ~kWindowReduced;
  }
}

bool finish_segments(std::span<const std::byte> frame, const Offload& offload,
                     std::vector<std::byte>& scratch,
                     const std::function<void(std::span<const std::byte>)>& give) {
  const auto layout = layout_of(frame, offload);
  if (!layout || offload.segment_bytes == 0) {
    return false;
  }
  const auto headers = frame.first(layout->payload);
  const auto payload = frame.subspan(layout->payload);
  std::uint16_t index = 0;
  std::size_t at = 0;
  do {
    const auto part =
        payload.subspan(at, std::min<std::size_t>(offload.segment_bytes, payload.size() - at));
    scratch.assign(headers.begin(), headers.end());
    scratch.insert(scratch.end(), part.begin(), part.end());
    if (!layout->udp) {
      number_segment(std::span(scratch).subspan(layout->transport), at,
                     at + part.size() < payload.size());
    }
    finish_segment(scratch, *layout, index++);
    give(scratch);
    at += part.size();
  } while (at < payload.size());
  return true;
}

}  // namespace

std::optional<Offload> parse_offload(std::span<const std::byte, kOffloadBytes> header) {
  RawHeader raw;
  std::memcpy(&raw, header.data(), sizeof(raw));
  Offload offload{.needs_checksum = (raw.flags & kNeedsChecksum) != 0,
                  .checksum_from = raw.checksum_from,
                  .checksum_at = raw.checksum_at,
                  .segment_bytes = raw.segment_bytes};
  switch (raw.segments & ~kCongestion) {
    case kNoSegments:
      return offload;
    case kTcpOverIpv4:
    case kTcpOverIpv6:
      offload.segments = Offload::Segments::tcp;
      return offload.needs_checksum ? std::optional(offload) : std::nullopt;
    case kUdpDatagrams:
      offload.segments = Offload::Segments::udp;
      return offload.needs_checksum ? std::optional(offload) : std::nullopt;
    default:
      return std::nullopt;
  }
}

void move_offload(std::span<std::byte, kOffloadBytes> header, int bytes) {
  RawHeader raw;
  std::memcpy(&raw, header.data(), sizeof(raw));
  if ((raw.flags & kNeedsChecksum) != 0) {
    raw.checksum_from = static_cast<std::uint16_t>(raw.checksum_from + bytes);
  }
  if (raw.segments != kNoSegments) {
    raw.header_bytes = static_cast<std::uint16_t>(raw.header_bytes + bytes);
  }
  std::memcpy(header.data(), &raw, sizeof(raw));
}

FramesWithin frames_within(std::span<const std::byte> frame, const Offload& offload) {
  const auto layout = segment_layout(frame, offload);
  if (!layout || offload.segment_bytes == 0) {
    return {.count = 1, .bytes = frame.size()};
  }
  const std::size_t payload = frame.size() - layout->payload;
  const std::size_t count =
      std::max<std::size_t>((payload + offload.segment_bytes - 1) / offload.segment_bytes, 1);
  return {.count = count, .bytes = count * layout->payload + payload};
}

std::size_t longest_frame(std::span<const std::byte> frame, const Offload& offload) {
  const auto layout = segment_layout(frame, offload);
  return layout ? std::min(frame.size(), layout->payload + offload.segment_bytes) : frame.size();
}

bool finish_frames(std::span<const std::byte> frame, const Offload& offload,
                   std::vector<std::byte>& scratch,
                   const std::function<void(std::span<const std::byte>)>& give) {
  if (offload.none()) {
    give(frame);
    return true;
  }
  if (offload.segments != Offload::Segments::none) {
    return finish_segments(frame, offload, scratch, give);
  }
  const std::size_t at = std::size_t{offload.checksum_from} + offload.checksum_at;
  if (at + sizeof(std::uint16_t) > frame.size()) {
    return false;
  }
  scratch.assign(frame.begin(), frame.end());
  // The field holds the sum of the pseudo header already.
  put16(scratch, at, never_none(checksum_of(sum_of(frame.subspan(offload.checksum_from)))));
  give(scratch);
  return true;
}

}  // namespace flowfs::bus
