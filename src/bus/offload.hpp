// SPDX-License-Identifier: BSD-3-Clause
// What a network interface of this machine leaves to whoever gets its frames: checksums to fill in,
// and TCP segments or UDP datagrams as one frame of up to 64 KiB. Interfaces pass both on to each
// other as they are; for everybody else they are done here.
//
// Source: the header that the kernel puts before such frames (struct virtio_net_hdr), RFC 1071
// (checksum), RFC 9293 (TCP), RFC 768 (UDP), RFC 791 and RFC 8200 (lengths).
// Threads: any; there is no state.
// Errors: header and frame are input: what does not fit together is no frame, and nothing is done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace flowfs::bus {

// The bytes before each frame that an interface gives and takes.
inline constexpr std::size_t kOffloadBytes = 10;

struct Offload {
  enum class Segments : std::uint8_t { none, tcp, udp };

  bool needs_checksum = false;
  std::uint16_t checksum_from = 0;  // where in the frame the summed bytes begin
  std::uint16_t checksum_at = 0;    // where behind that the sum belongs
  Segments segments = Segments::none;
  std::uint16_t segment_bytes = 0;  // of payload

  [[nodiscard]] bool none() const { return !needs_checksum && segments == Segments::none; }
};

// Nothing for a header with something that was not asked for, as UDP fragments.
std::optional<Offload> parse_offload(std::span<const std::byte, kOffloadBytes> header);

// The same header for a frame whose bytes behind the addresses have moved by `bytes`, as a tag was
// added or removed.
void move_offload(std::span<std::byte, kOffloadBytes> header, int bytes);

// How long the longest of the frames is that `frame` stands for.
std::size_t longest_frame(std::span<const std::byte> frame, const Offload& offload);

// What the frames are, taken together, that `frame` stands for; one frame where the two do not fit
// together.
struct FramesWithin {
  std::size_t count = 1;
  std::size_t bytes = 0;
};
FramesWithin frames_within(std::span<const std::byte> frame, const Offload& offload);

// Calls `give` with each of the frames that `frame` stands for, ready for a wire, in order. The
// bytes are in `scratch` and good until `give` returns. False, and none is given, where header and
// frame do not fit together.
bool finish_frames(std::span<const std::byte> frame, const Offload& offload,
                   std::vector<std::byte>& scratch,
                   const std::function<void(std::span<const std::byte>)>& give);

}  // namespace flowfs::bus
