// SPDX-License-Identifier: BSD-3-Clause
#include "bus/offload.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "frames.hpp"

namespace flowfs::bus {
namespace {

using test::append;
using test::Frame;

constexpr std::size_t kIp = 14;
constexpr std::size_t kTcp4 = kIp + 20;
constexpr std::size_t kTcp6 = kIp + 40;

struct Header {
  std::uint8_t flags = 1;
  std::uint8_t segments = 0;
  std::uint16_t header_bytes = 0;
  std::uint16_t segment_bytes = 0;
  std::uint16_t checksum_from = 0;
  std::uint16_t checksum_at = 16;
};

std::array<std::byte, kOffloadBytes> bytes_of(const Header& header) {
  std::array<std::byte, kOffloadBytes> bytes{};
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

std::uint64_t number(const Frame& frame, std::size_t at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value = value << 8 | std::to_integer<std::uint64_t>(frame.at(at + i));
  }
  return value;
}

// The way of RFC 1071, a word at a time. 0 over bytes that hold their own right checksum.
std::uint16_t plain_checksum(std::uint64_t start, const Frame& frame, std::size_t from,
                             std::size_t to) {
  std::uint64_t sum = start;
  for (std::size_t at = from; at < to; at += 2) {
    sum += at + 1 < to ? number(frame, at, 2) : number(frame, at, 1) << 8;
  }
  while (sum >> 16 != 0) {
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(~sum);
}

std::uint64_t pseudo_header(const Frame& frame, std::size_t tcp) {
  const bool ipv4 = tcp == kTcp4;
  const std::size_t addresses = ipv4 ? kIp + 12 : kIp + 8;
  std::uint64_t sum = 6 + frame.size() - tcp;
  for (std::size_t at = addresses; at < tcp; at += 2) {
    sum += number(frame, at, 2);
  }
  return sum;
}

// TCP with `payload` bytes, as an interface gives it: lengths of the whole, no checksum but that of
// the pseudo header.
Frame tcp_frame(std::size_t tcp, std::size_t payload, std::uint8_t flags) {
  Frame frame;
  append(frame, 0x020000000001, 6);
  append(frame, 0x020000000002, 6);
  append(frame, tcp == kTcp4 ? 0x0800 : 0x86dd, 2);
  if (tcp == kTcp4) {
    append(frame, 0x4500, 2);
    append(frame, 20 + 20 + payload, 2);
    append(frame, 0x7fff'4000, 4);  // identification 0x7fff, not to be fragmented
    append(frame, 0x4006'0000, 4);
    append(frame, 0x0a000001'0a000002, 8);
  } else {
    append(frame, 0x60000000, 4);
    append(frame, 20 + payload, 2);
    append(frame, 0x0640, 2);
    append(frame, 0xfd00000000000000, 8);
    append(frame, 1, 8);
    append(frame, 0xfd00000000000000, 8);
    append(frame, 2, 8);
  }
  append(frame, 0x1f90'c350, 4);
  append(frame, 0xffff'ff00, 4);  // the sequence passes zero
  append(frame, 0, 4);
  append(frame, 0x50, 1);
  append(frame, flags, 1);
  append(frame, 0xffff'0000'0000, 6);
  for (std::size_t i = 0; i < payload; ++i) {
    frame.push_back(static_cast<std::byte>(i * 7));
  }
  return frame;
}

std::vector<Frame> finish(const Frame& frame, const Header& header) {
  const auto offload = parse_offload(bytes_of(header));
  std::vector<Frame> frames;
  std::vector<std::byte> scratch;
  if (offload) {
    const bool fits = finish_frames(frame, *offload, scratch, [&](auto bytes) {
      frames.emplace_back(bytes.begin(), bytes.end());
    });
    EXPECT_EQ(fits, !frames.empty());
  }
  return frames;
}

void check_tcp(const Frame& frame, std::size_t tcp) {
  EXPECT_EQ(plain_checksum(pseudo_header(frame, tcp), frame, tcp, frame.size()), 0);
  if (tcp == kTcp4) {
    EXPECT_EQ(plain_checksum(0, frame, kIp, kTcp4), 0);
    EXPECT_EQ(number(frame, kIp + 2, 2), frame.size() - kIp);
  } else {
    EXPECT_EQ(number(frame, kIp + 4, 2), frame.size() - kTcp6);
  }
}

TEST(Offload, gives_a_frame_without_any_as_it_is) {
  const Frame frame = tcp_frame(kTcp4, 100, 0x18);
  const auto frames = finish(frame, {.flags = 0});
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0], frame);
}

TEST(Offload, says_what_a_frame_stands_for_before_it_is_finished) {
  for (const std::size_t payload : {1U, 100U, 101U, 250U, 1000U}) {
    const Frame frame = tcp_frame(kTcp6, payload, 0x18);
    const Header header{
        .segments = 4, .segment_bytes = 100, .checksum_from = static_cast<std::uint16_t>(kTcp6)};
    const auto frames = finish(frame, header);
    std::size_t bytes = 0;
    for (const Frame& one : frames) {
      bytes += one.size();
    }
    const FramesWithin within = frames_within(frame, *parse_offload(bytes_of(header)));
    EXPECT_EQ(within.count, frames.size());
    EXPECT_EQ(within.bytes, bytes);
  }
  const Frame plain = tcp_frame(kTcp4, 100, 0x18);
  EXPECT_EQ(frames_within(plain, {}).count, 1U);
  EXPECT_EQ(frames_within(plain, {}).bytes, plain.size());
}

TEST(Offload, fills_in_a_checksum) {
  for (const std::size_t payload : {0U, 1U, 2U, 3U, 1459U}) {
    Frame frame = tcp_frame(kTcp4, payload, 0x18);
    std::uint64_t pseudo = pseudo_header(frame, kTcp4);
    pseudo = (pseudo & 0xffff) + (pseudo >> 16);
    frame[kTcp4 + 16] = static_cast<std::byte>(pseudo >> 8);
    frame[kTcp4 + 17] = static_cast<std::byte>(pseudo & 0xff);
    const auto frames = finish(frame, {.checksum_from = kTcp4});
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(plain_checksum(pseudo_header(frames[0], kTcp4), frames[0], kTcp4, frame.size()), 0)
        << payload;
  }
}

TEST(Offload, never_says_that_there_is_no_checksum) {
  constexpr std::size_t kInUdp = 6;
  Frame frame(kTcp6 + 100);
  frame[kTcp6 + kInUdp] = std::byte{0xff};
  frame[kTcp6 + kInUdp + 1] = std::byte{0xff};
  const auto frames =
      finish(frame, {.checksum_from = static_cast<std::uint16_t>(kTcp6), .checksum_at = kInUdp});
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(number(frames[0], kTcp6 + kInUdp, 2), 0xffffU);
}

TEST(Offload, makes_segments_of_a_large_one) {
  for (const std::size_t tcp : {kTcp4, kTcp6}) {
    const std::uint8_t kind = tcp == kTcp4 ? 1 : 4;
    const Frame frame = tcp_frame(tcp, 3500, 0x99);  // with FIN, PSH, ACK and CWR
    const auto frames = finish(frame, {.segments = kind,
                                       .segment_bytes = 1460,
                                       .checksum_from = static_cast<std::uint16_t>(tcp)});
    ASSERT_EQ(frames.size(), 3U);
    Frame payload;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      check_tcp(frames[i], tcp);
      EXPECT_EQ(number(frames[i], tcp + 4, 4), static_cast<std::uint32_t>(0xffffff00 + i * 1460));
      payload.insert(payload.end(), frames[i].begin() + static_cast<long>(tcp + 20),
                     frames[i].end());
      if (tcp == kTcp4) {
        EXPECT_EQ(number(frames[i], kIp + 4, 2), 0x7fff + i);
      }
    }
    EXPECT_EQ(number(frames[0], tcp + 13, 1), 0x90U);
    EXPECT_EQ(number(frames[1], tcp + 13, 1), 0x10U);
    EXPECT_EQ(number(frames[2], tcp + 13, 1), 0x19U);
    EXPECT_TRUE(std::equal(payload.begin(), payload.end(),
                           frame.begin() + static_cast<long>(tcp) + 20, frame.end()));
    const auto offload =
        parse_offload(bytes_of({.segments = kind,
                                .segment_bytes = 1460,
                                .checksum_from = static_cast<std::uint16_t>(tcp)}));
    EXPECT_EQ(longest_frame(frame, *offload), frames[0].size());
  }
}

TEST(Offload, makes_datagrams_of_a_large_one) {
  for (const std::size_t udp : {kTcp4, kTcp6}) {
    Frame frame = tcp_frame(udp, 2500, 0);
    frame.erase(frame.begin() + static_cast<long>(udp) + 8,
                frame.begin() + static_cast<long>(udp) + 20);
    const Header header{.segments = 5,
                        .segment_bytes = 1000,
                        .checksum_from = static_cast<std::uint16_t>(udp),
                        .checksum_at = 6};
    const auto frames = finish(frame, header);
    ASSERT_EQ(frames.size(), 3U);
    Frame payload;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const std::size_t bytes = frames[i].size() - udp;
      EXPECT_EQ(bytes, i < 2 ? 1008 : 508);
      EXPECT_EQ(number(frames[i], udp + 4, 2), bytes);
      const std::uint64_t pseudo = pseudo_header(frames[i], udp) - 6 + 17;
      EXPECT_EQ(plain_checksum(pseudo, frames[i], udp, frames[i].size()), 0);
      payload.insert(payload.end(), frames[i].begin() + static_cast<long>(udp) + 8,
                     frames[i].end());
      if (udp == kTcp4) {
        EXPECT_EQ(plain_checksum(0, frames[i], kIp, kTcp4), 0);
        EXPECT_EQ(number(frames[i], kIp + 4, 2), 0x7fff + i);
      }
    }
    EXPECT_TRUE(std::equal(payload.begin(), payload.end(),
                           frame.begin() + static_cast<long>(udp) + 8, frame.end()));
    const auto offload = parse_offload(bytes_of(header));
    EXPECT_EQ(longest_frame(frame, *offload), frames[0].size());
    EXPECT_EQ(frames_within(frame, *offload).count, frames.size());
    frame.resize(udp + 7);
    EXPECT_TRUE(finish(frame, header).empty());
  }
}

TEST(Offload, makes_segments_behind_a_tag) {
  Frame frame = tcp_frame(kTcp4, 2000, 0x10);
  Frame tag;
  append(tag, 0x8100'000a, 4);
  frame.insert(frame.begin() + kAddressesBytes, tag.begin(), tag.end());
  auto frames = finish(frame, {.segments = 1, .segment_bytes = 1000, .checksum_from = kTcp4 + 4});
  ASSERT_EQ(frames.size(), 2U);
  for (Frame& one : frames) {
    EXPECT_EQ(parse_frame(one)->tci, 10);
    one.erase(one.begin() + kAddressesBytes, one.begin() + kAddressesBytes + kTagBytes);
    check_tcp(one, kTcp4);
  }
}

TEST(Offload, does_nothing_where_header_and_frame_do_not_fit) {
  const Frame frame = tcp_frame(kTcp4, 100, 0x10);
  const auto end = static_cast<std::uint16_t>(frame.size());
  EXPECT_TRUE(finish(frame, {.checksum_from = end, .checksum_at = 0}).empty());
  EXPECT_TRUE(finish(frame, {.checksum_from = 65535, .checksum_at = 65535}).empty());
  EXPECT_TRUE(finish(frame, {.segments = 1, .segment_bytes = 0, .checksum_from = kTcp4}).empty());
  EXPECT_TRUE(finish(frame, {.segments = 1, .segment_bytes = 9, .checksum_from = end}).empty());
  EXPECT_TRUE(finish(frame, {.segments = 1, .segment_bytes = 9, .checksum_from = 20}).empty());
  EXPECT_TRUE(finish(frame, {.segments = 1, .segment_bytes = 9, .checksum_from = 0}).empty());
  Frame lies = frame;
  lies[kTcp4 + 12] = std::byte{0xf0};  // 60 bytes of TCP header, which are there
  EXPECT_FALSE(finish(lies, {.segments = 1, .segment_bytes = 50, .checksum_from = kTcp4}).empty());
  lies.resize(kTcp4 + 40);  // and which are not
  EXPECT_TRUE(finish(lies, {.segments = 1, .segment_bytes = 50, .checksum_from = kTcp4}).empty());
  lies[kTcp4 + 12] = std::byte{0x10};
  EXPECT_TRUE(finish(lies, {.segments = 1, .segment_bytes = 50, .checksum_from = kTcp4}).empty());
  EXPECT_TRUE(finish({}, {.segments = 1, .segment_bytes = 50, .checksum_from = 0}).empty());
  Frame tunnel = frame;
  tunnel.insert(tunnel.begin() + kTcp4, 24, std::byte{0});  // a header, and that of IP once more
  EXPECT_TRUE(
      finish(tunnel, {.segments = 1, .segment_bytes = 50, .checksum_from = kTcp4 + 24}).empty());
}

TEST(Offload, refuses_what_it_did_not_ask_for) {
  EXPECT_FALSE(parse_offload(bytes_of({.segments = 3})));              // UDP fragments
  EXPECT_FALSE(parse_offload(bytes_of({.flags = 0, .segments = 1})));  // segments without checksum
  EXPECT_FALSE(parse_offload(bytes_of({.flags = 0, .segments = 5})));
  EXPECT_TRUE(parse_offload(bytes_of({.segments = 0x81, .segment_bytes = 1460})));
}

TEST(Offload, moves_with_the_bytes_it_is_about) {
  auto bytes = bytes_of({.segments = 1, .header_bytes = 54, .checksum_from = kTcp4});
  move_offload(bytes, 4);
  EXPECT_EQ(parse_offload(bytes)->checksum_from, kTcp4 + 4);
  move_offload(bytes, -4);
  EXPECT_EQ(bytes, bytes_of({.segments = 1, .header_bytes = 54, .checksum_from = kTcp4}));
  auto none = bytes_of({.flags = 0, .checksum_at = 0});
  move_offload(none, 4);
  EXPECT_EQ(none, bytes_of({.flags = 0, .checksum_at = 0}));
}

}  // namespace
}  // namespace flowfs::bus
