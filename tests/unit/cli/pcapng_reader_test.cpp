// SPDX-License-Identifier: BSD-3-Clause
#include "cli/pcapng_reader.hpp"

#include <gtest/gtest.h>

#include "bus/pcapng.hpp"

namespace flowfs::cli {
namespace {

using Outcome = PcapngReader::Outcome;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Two packets, as the writer of this project makes them.
std::string capture() {
  std::string out;
  bus::PcapngWriter writer(bus::PcapngWriter::LinkType::messages, 0);
  bus::PcapngWriter::start("test", out);
  const auto interface = writer.interface("bus", out);
  EXPECT_TRUE(writer.packet({.interface = interface,
                             .time_ns = 1'700'000'000'123'456'789,
                             .bytes = bytes_of("one"),
                             .length = 3},
                            out));
  EXPECT_TRUE(writer.packet({.interface = interface,
                             .time_ns = 1'700'000'001'000'000'001,
                             .bytes = bytes_of("three"),
                             .length = 9},
                            out));
  EXPECT_TRUE(writer.statistics(interface, {}, out));
  return out;
}

TEST(PcapngReader, reads_what_the_writer_writes) {
  PcapngReader reader;
  reader.add(capture());
  PcapngReader::Packet packet;
  ASSERT_EQ(reader.next(packet), Outcome::packet);
  EXPECT_EQ(packet.bytes, "one");
  EXPECT_EQ(packet.time_ns, 1'700'000'000'123'456'789U);
  EXPECT_FALSE(packet.cut_off);
  ASSERT_EQ(reader.next(packet), Outcome::packet);
  EXPECT_EQ(packet.bytes, "three");
  EXPECT_EQ(packet.time_ns, 1'700'000'001'000'000'001U);
  EXPECT_TRUE(packet.cut_off);
  EXPECT_EQ(reader.next(packet), Outcome::more);
  EXPECT_TRUE(reader.at_end());
}

TEST(PcapngReader, takes_a_file_byte_by_byte) {
  PcapngReader reader;
  PcapngReader::Packet packet;
  std::string seen;
  for (const char byte : capture()) {
    reader.add({&byte, 1});
    if (reader.next(packet) == Outcome::packet) {
      seen.append(packet.bytes).append(" ");
    }
  }
  EXPECT_EQ(seen, "one three ");
  EXPECT_EQ(reader.next(packet), Outcome::more);
  EXPECT_TRUE(reader.at_end());
}

TEST(PcapngReader, may_end_nowhere_but_after_a_block) {
  const std::string whole = capture();
  std::size_t ends = 0;
  for (std::size_t bytes = 0; bytes <= whole.size(); ++bytes) {
    PcapngReader reader;
    reader.add(std::string_view(whole).substr(0, bytes));
    PcapngReader::Packet packet;
    Outcome outcome = Outcome::packet;
    while (outcome == Outcome::packet) {
      outcome = reader.next(packet);
    }
    EXPECT_EQ(outcome, Outcome::more);
    ends += reader.at_end() ? 1 : 0;
  }
  EXPECT_EQ(ends, 5U);  // section, interface, two packets, statistics
}

TEST(PcapngReader, survives_any_byte_changed) {
  const std::string whole = capture();
  std::size_t broken = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const char flip : {'\x01', '\x80', '\xff'}) {
      std::string spoilt = whole;
      spoilt[at] = static_cast<char>(spoilt[at] ^ flip);
      PcapngReader reader;
      reader.add(spoilt);
      PcapngReader::Packet packet;
      Outcome outcome = reader.next(packet);
      for (int packets = 0; outcome == Outcome::packet; ++packets) {
        ASSERT_LE(packets, 2);
        ASSERT_LE(packet.bytes.size(), spoilt.size());
        outcome = reader.next(packet);
      }
      broken += outcome == Outcome::broken ? 1 : 0;
    }
  }
  EXPECT_GT(broken, 0U);
}

TEST(PcapngReader, stays_broken) {
  PcapngReader reader;
  reader.add("this is something else");
  PcapngReader::Packet packet;
  EXPECT_EQ(reader.next(packet), Outcome::broken);
  reader.add(capture());
  EXPECT_EQ(reader.next(packet), Outcome::broken);
  EXPECT_FALSE(reader.at_end());
}

}  // namespace
}  // namespace flowfs::cli
