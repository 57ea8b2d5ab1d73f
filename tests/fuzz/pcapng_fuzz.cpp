// SPDX-License-Identifier: BSD-3-Clause
// Captures: any bytes as a pcapng file, which reads the same however it is cut into parts; and any
// packets as a capture of ours, which reads back as what was written.
//
// The input: a byte that says which of the two. Then, of the first, a byte for the length of the
// parts and the file; of the second, packets, each after a byte for its interface and one for its
// length.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bus/pcapng.hpp"
#include "cli/pcapng_reader.hpp"

namespace {

using flowfs::bus::PcapngWriter;
using flowfs::cli::PcapngReader;

constexpr std::uint32_t kInterfaces = 3;
constexpr std::uint32_t kLongest = 100;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

struct Kept {
  std::uint64_t time_ns;
  std::string bytes;
  bool cut_off;

  bool operator==(const Kept&) const = default;
};

struct Read {
  std::vector<Kept> packets;
  bool broken = false;
  bool at_end = false;

  bool operator==(const Read&) const = default;
};

Read read(std::string_view file, std::size_t part) {
  PcapngReader reader;
  Read found;
  do {
    reader.add(file.substr(0, part));
    file.remove_prefix(std::min(part, file.size()));
    PcapngReader::Packet packet;
    PcapngReader::Outcome outcome{};
    while ((outcome = reader.next(packet)) == PcapngReader::Outcome::packet) {
      found.packets.push_back({packet.time_ns, std::string(packet.bytes), packet.cut_off});
    }
    found.broken = outcome == PcapngReader::Outcome::broken;
  } while (!file.empty() && !found.broken);
  found.at_end = !found.broken && reader.at_end();
  return found;
}

void write_and_read(std::string_view input) {
  std::string file;
  PcapngWriter writer(PcapngWriter::LinkType::ethernet, kLongest);
  PcapngWriter::start("fuzzer", file);
  for (std::uint32_t i = 0; i < kInterfaces; ++i) {
    require(writer.interface(input.substr(0, i), file) == PcapngWriter::Interface{i});
  }
  std::vector<Kept> written;
  std::uint64_t time = 0;
  while (input.size() >= 2) {
    const PcapngWriter::Interface interface{static_cast<std::uint8_t>(input[0]) %
                                            (kInterfaces + 1)};
    const std::size_t length = static_cast<std::uint8_t>(input[1]);
    const std::string_view bytes = input.substr(2, std::min<std::size_t>(length, kLongest));
    time += 0x1'0000'0001;
    const bool there = writer.packet({.interface = interface,
                                      .time_ns = time,
                                      .bytes = std::as_bytes(std::span(bytes)),
                                      .length = length,
                                      .dropped = length},
                                     file);
    require(there == (std::to_underlying(interface) < kInterfaces));
    require(writer.statistics(interface, {.time_ns = time, .received = 1, .dropped = 2}, file) ==
            there);
    if (there) {
      written.push_back({time, std::string(bytes), length > bytes.size()});
    }
    input.remove_prefix(2 + bytes.size());
  }
  const Read back = read(file, file.size());
  require(!back.broken && back.at_end && back.packets == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.size() < 2) {
    return 0;
  }
  if (input[0] % 2 != 0) {
    write_and_read(input.substr(1));
    return 0;
  }
  const std::string_view file = input.substr(2);
  const std::size_t part = std::size_t{1} + static_cast<std::uint8_t>(input[1]);
  require(read(file, part) == read(file, std::max<std::size_t>(file.size(), 1)));
  return 0;
}
