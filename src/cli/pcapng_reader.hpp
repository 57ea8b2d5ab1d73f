// SPDX-License-Identifier: BSD-3-Clause
// The packets of a pcapng file, whoever wrote it: either byte order, any number of sections and
// interfaces. Blocks other than enhanced packets are passed over. Pure: bytes in, packets out.
//
// Source: IETF draft-ietf-opsawg-pcapng.
// Input: not trusted. A block that cannot be is Outcome::broken, and so is all after it.
// Units: times in nanoseconds since the epoch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace flowfs::cli {

class PcapngReader {
 public:
  enum class [[nodiscard]] Outcome {
    packet,
    more,    // add() what follows
    broken,  // not a pcapng file, or not from here on
  };

  struct Packet {
    std::uint64_t time_ns = 0;
    std::string_view bytes;  // valid until the next call
    bool cut_off = false;    // it was longer
  };

  void add(std::string_view bytes) { buffer_.append(bytes); }
  Outcome next(Packet& packet);
  // Whether the file may end here.
  [[nodiscard]] bool at_end() const { return began_ && buffer_.size() == taken_; }

 private:
  struct Interface {
    std::uint64_t units_per_second = 1'000'000;
  };

  Outcome take_block(Packet& packet, bool& is_packet);
  bool begin_section(std::string_view body);
  bool add_interface(std::string_view body);
  bool read_packet(std::string_view body, Packet& packet) const;
  [[nodiscard]] std::uint32_t word(std::string_view bytes, std::size_t at) const;
  [[nodiscard]] std::uint16_t half(std::string_view bytes, std::size_t at) const;

  std::string buffer_;
  std::size_t taken_ = 0;  // of buffer_
  std::vector<Interface> interfaces_;
  bool swapped_ = false;
  bool began_ = false;
  bool broken_ = false;
};

}  // namespace flowfs::cli
