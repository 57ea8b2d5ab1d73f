// SPDX-License-Identifier: BSD-3-Clause
// A capture in the pcapng format: bytes to append to a stream, nothing kept but what they need.
//
// Source: IETF draft-ietf-opsawg-pcapng, in the byte order of this machine, as the format allows.
// A stream begins with start() and an interface() for each port, in any order after it; every block
// ends on a multiple of four bytes and may be the last.
// Units: times in nanoseconds since the epoch.
// Threads: one object, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace flowfs::bus {

class PcapngWriter {
 public:
  enum class LinkType : std::uint16_t {
    ethernet = 1,
    messages = 147,  // the first of those kept for private use
  };
  // An interface of this stream: they count from 0.
  enum class Interface : std::uint32_t {};

  struct Packet {
    Interface interface{};
    std::uint64_t time_ns = 0;
    std::span<const std::byte> bytes;
    std::size_t length = 0;     // of the packet: `bytes` may be its first part only
    std::uint64_t dropped = 0;  // packets lost since the one before
  };

  struct Counts {
    std::uint64_t time_ns = 0;
    std::uint64_t received = 0;
    std::uint64_t dropped = 0;
  };

  // `longest`: the most bytes of a packet that are kept; 0: as many as readers of the format take,
  // which is 256 KiB.
  PcapngWriter(LinkType type, std::uint32_t longest) : type_(type), longest_(longest) {}

  // Appends to `out`. `program` and `name` are text for people, cut after 65,535 bytes.
  static void start(std::string_view program, std::string& out);
  Interface interface(std::string_view name, std::string& out);
  // Of the interfaces that are still to come: each has its own.
  void set_link_type(LinkType type) { type_ = type; }
  // Nothing, and false, for an interface that this stream does not have.
  bool packet(const Packet& packet, std::string& out) const;
  bool statistics(Interface interface, const Counts& counts, std::string& out) const;

 private:
  [[nodiscard]] bool has(Interface interface) const {
    return static_cast<std::uint32_t>(interface) < interfaces_;
  }

  LinkType type_;
  std::uint32_t longest_;
  std::uint32_t interfaces_ = 0;
};

}  // namespace flowfs::bus
