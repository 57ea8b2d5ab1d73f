// SPDX-License-Identifier: BSD-3-Clause
#include "bus/pcapng.hpp"

#include <algorithm>
#include <cstring>

namespace flowfs::bus {
namespace {

enum class BlockType : std::uint32_t {
  section = 0x0a0d0d0a,
  interface = 1,
  statistics = 5,
  packet = 6,
};

enum class Option : std::uint16_t {
  end = 0,
  section_program = 4,
  interface_name = 2,
  interface_resolution = 9,
  packet_dropped = 4,
  statistics_received = 4,
  statistics_dropped = 5,
};

constexpr std::uint32_t kByteOrderMagic = 0x1a2b3c4d;
constexpr std::uint64_t kUnknownLength = ~std::uint64_t{0};
constexpr std::string_view kNanoseconds = "\x09";  // 10 to the power of -9
constexpr std::size_t kAlignment = 4;
constexpr std::size_t kMostOptionBytes = 65535;
// The most that readers take: libpcap and Wireshark call a longer packet a broken file.
constexpr std::size_t kMostPacketBytes = 262144;

template <typename T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

// One block: its length stands before and after what is in it.
class Block {
 public:
  Block(BlockType type, std::string& out) : out_(out), begin_(out.size()) {
    put(out_, static_cast<std::uint32_t>(type));
    put(out_, std::uint32_t{0});
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() {
    const auto length = static_cast<std::uint32_t>(out_.size() + sizeof(std::uint32_t) - begin_);
    std::memcpy(out_.data() + begin_ + sizeof(std::uint32_t), &length, sizeof(length));
    put(out_, length);
  }

  void bytes(std::string_view bytes) {
    out_.append(bytes);
    out_.append((kAlignment - bytes.size() % kAlignment) % kAlignment, '\0');
  }

  void option(Option option, std::string_view value) {
    value = value.substr(0, kMostOptionBytes);
    put(out_, static_cast<std::uint16_t>(option));
    put(out_, static_cast<std::uint16_t>(value.size()));
    bytes(value);
  }

  void option(Option option, std::uint64_t value) {
    put(out_, static_cast<std::uint16_t>(option));
    put(out_, static_cast<std::uint16_t>(sizeof(value)));
    put(out_, value);
  }

  void end_of_options() { put(out_, static_cast<std::uint32_t>(Option::end)); }

  void time(std::uint64_t time_ns) {
    put(out_, static_cast<std::uint32_t>(time_ns >> 32));
    put(out_, static_cast<std::uint32_t>(time_ns));
  }

 private:
  std::string& out_;
  std::size_t begin_;
};

}  // namespace

void PcapngWriter::start(std::string_view program, std::string& out) {
  Block block(BlockType::section, out);
  put(out, kByteOrderMagic);
  put(out, std::uint16_t{1});  // version 1.0
  put(out, std::uint16_t{0});
  put(out, kUnknownLength);
  block.option(Option::section_program, program);
  block.end_of_options();
}

PcapngWriter::Interface PcapngWriter::interface(std::string_view name, std::string& out) {
  Block block(BlockType::interface, out);
  put(out, static_cast<std::uint16_t>(type_));
  put(out, std::uint16_t{0});
  put(out, longest_);
  block.option(Option::interface_name, name);
  block.option(Option::interface_resolution, kNanoseconds);
  block.end_of_options();
  return Interface{interfaces_++};
}

bool PcapngWriter::packet(const Packet& packet, std::string& out) const {
  if (!has(packet.interface)) {
    return false;
  }
  const std::size_t longest =
      longest_ == 0 ? kMostPacketBytes : std::min<std::size_t>(longest_, kMostPacketBytes);
  const auto kept = packet.bytes.first(std::min(packet.bytes.size(), longest));
  Block block(BlockType::packet, out);
  put(out, static_cast<std::uint32_t>(packet.interface));
  block.time(packet.time_ns);
  put(out, static_cast<std::uint32_t>(kept.size()));
  put(out, static_cast<std::uint32_t>(std::max(packet.length, packet.bytes.size())));
  block.bytes({reinterpret_cast<const char*>(kept.data()), kept.size()});
  if (packet.dropped > 0) {
    block.option(Option::packet_dropped, packet.dropped);
    block.end_of_options();
  }
  return true;
}

bool PcapngWriter::statistics(Interface interface, const Counts& counts, std::string& out) const {
  if (!has(interface)) {
    return false;
  }
  Block block(BlockType::statistics, out);
  put(out, static_cast<std::uint32_t>(interface));
  block.time(counts.time_ns);
  block.option(Option::statistics_received, counts.received);
  block.option(Option::statistics_dropped, counts.dropped);
  block.end_of_options();
  return true;
}

}  // namespace flowfs::bus
