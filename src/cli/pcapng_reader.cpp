// SPDX-License-Identifier: BSD-3-Clause
#include "cli/pcapng_reader.hpp"

#include <bit>
#include <cmath>
#include <cstring>

namespace flowfs::cli {
namespace {

constexpr std::uint32_t kSection = 0x0a0d0d0a;  // the same in either byte order
constexpr std::uint32_t kInterface = 1;
constexpr std::uint32_t kPacket = 6;
constexpr std::uint32_t kMagic = 0x1a2b3c4d;
constexpr std::uint16_t kResolution = 9;
constexpr std::uint64_t kSecond = 1'000'000'000;

constexpr std::size_t kHeader = 8;   // type and length
constexpr std::size_t kTrailer = 4;  // the length again
constexpr std::size_t kPacketHead = 20;
constexpr std::size_t kInterfaceHead = 8;
constexpr std::size_t kLongestBlock = std::size_t{1} << 27;

template <typename T>
T load(std::string_view bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::size_t padded(std::size_t bytes) { return (bytes + 3) / 4 * 4; }

// Ten to the power of it, or two where the highest bit is set; 0: more than 64 bits hold.
std::uint64_t units_of(std::uint8_t resolution) {
  const unsigned exponent = resolution & 0x7fU;
  if ((resolution & 0x80U) != 0) {
    return exponent < 64 ? std::uint64_t{1} << exponent : 0;
  }
  std::uint64_t units = 1;
  for (unsigned i = 0; i < exponent; ++i) {
    if (units > UINT64_MAX / 10) {
      return 0;
    }
    units *= 10;
  }
  return units;
}

std::uint64_t to_ns(std::uint64_t time, std::uint64_t units_per_second) {
  const double rest = static_cast<double>(time % units_per_second) * static_cast<double>(kSecond);
  const auto ns = std::llround(rest / static_cast<double>(units_per_second));
  return time / units_per_second * kSecond + static_cast<std::uint64_t>(ns);
}

}  // namespace

std::uint32_t PcapngReader::word(std::string_view bytes, std::size_t at) const {
  const auto value = load<std::uint32_t>(bytes, at);
  return swapped_ ? std::byteswap(value) : value;
}

std::uint16_t PcapngReader::half(std::string_view bytes, std::size_t at) const {
  const auto value = load<std::uint16_t>(bytes, at);
  return swapped_ ? std::byteswap(value) : value;
}

PcapngReader::Outcome PcapngReader::next(Packet& packet) {
  for (;;) {
    bool is_packet = false;
    const Outcome outcome = broken_ ? Outcome::broken : take_block(packet, is_packet);
    broken_ = outcome == Outcome::broken;
    if (outcome != Outcome::packet || is_packet) {
      return outcome;
    }
  }
}

// `packet` with `is_packet` false: a block of another kind was taken.
PcapngReader::Outcome PcapngReader::take_block(Packet& packet, bool& is_packet) {
  buffer_.erase(0, taken_);
  taken_ = 0;
  const std::string_view rest = buffer_;
  if (rest.size() < kHeader + kTrailer) {
    return Outcome::more;
  }
  const std::uint32_t raw_type = load<std::uint32_t>(rest, 0);
  if (!began_ && raw_type != kSection) {
    return Outcome::broken;
  }
  if (raw_type == kSection) {
    const std::uint32_t magic = load<std::uint32_t>(rest, kHeader);
    if (magic != kMagic && magic != std::byteswap(kMagic)) {
      return Outcome::broken;
    }
    swapped_ = magic != kMagic;
  }
  const std::size_t length = word(rest, 4);
  if (length < kHeader + kTrailer || length % 4 != 0 || length > kLongestBlock) {
    return Outcome::broken;
  }
  if (rest.size() < length) {
    return Outcome::more;
  }
  if (word(rest, length - kTrailer) != length) {
    return Outcome::broken;
  }
  const std::string_view body = rest.substr(kHeader, length - kHeader - kTrailer);
  const std::uint32_t type = word(rest, 0);
  taken_ = length;
  bool good = true;
  if (raw_type == kSection) {
    good = begin_section(body);
  } else if (type == kInterface) {
    good = add_interface(body);
  } else if (type == kPacket) {
    good = read_packet(body, packet);
    is_packet = true;
  }
  return good ? Outcome::packet : Outcome::broken;
}

bool PcapngReader::begin_section(std::string_view body) {
  constexpr std::size_t kSectionHead = 16;
  began_ = true;
  interfaces_.clear();  // they are numbered anew
  return body.size() >= kSectionHead && half(body, 4) == 1;
}

bool PcapngReader::add_interface(std::string_view body) {
  if (body.size() < kInterfaceHead) {
    return false;
  }
  Interface made;
  std::size_t at = kInterfaceHead;
  while (at + 4 <= body.size() && half(body, at) != 0) {
    const std::size_t bytes = half(body, at + 2);
    if (at + 4 + padded(bytes) > body.size()) {
      return false;
    }
    if (half(body, at) == kResolution && bytes == 1) {
      made.units_per_second = units_of(load<std::uint8_t>(body, at + 4));
    }
    at += 4 + padded(bytes);
  }
  interfaces_.push_back(made);
  return made.units_per_second != 0;
}

bool PcapngReader::read_packet(std::string_view body, Packet& packet) const {
  if (body.size() < kPacketHead || word(body, 0) >= interfaces_.size()) {
    return false;
  }
  const std::size_t kept = word(body, 12);
  if (kept > body.size() - kPacketHead) {
    return false;
  }
  const std::uint64_t time = std::uint64_t{word(body, 4)} << 32 | word(body, 8);
  packet = {.time_ns = to_ns(time, interfaces_[word(body, 0)].units_per_second),
            .bytes = body.substr(kPacketHead, kept),
            .cut_off = word(body, 16) > kept};
  return true;
}

}  // namespace flowfs::cli
