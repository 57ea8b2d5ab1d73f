// SPDX-License-Identifier: BSD-3-Clause
#include "bus/pcapng.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <vector>

#include "frames.hpp"

namespace flowfs::bus {
namespace {

using test::frame;
using test::station;
using testing::ElementsAre;

constexpr std::uint64_t kTime = 1'700'000'000'123'456'789;
constexpr std::uint64_t kPackets = 300;  // of any length and from any interface
constexpr std::uint32_t kLongest = 500;

struct Block {
  std::uint32_t type = 0;
  std::string body;
};

template <typename T>
T number_at(const std::string& bytes, std::size_t at) {
  T value{};
  EXPECT_LE(at + sizeof(T), bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

// As a reader goes through a file: from length to length.
std::vector<Block> blocks_of(const std::string& stream) {
  std::vector<Block> blocks;
  for (std::size_t at = 0; at < stream.size();) {
    const auto length = number_at<std::uint32_t>(stream, at + 4);
    if (length < 12 || length % 4 != 0 || length > stream.size() - at) {
      ADD_FAILURE() << "a block of " << length << " bytes at " << at;
      break;
    }
    EXPECT_EQ(number_at<std::uint32_t>(stream, at + length - 4), length);
    blocks.push_back({number_at<std::uint32_t>(stream, at), stream.substr(at + 8, length - 12)});
    at += length;
  }
  return blocks;
}

std::vector<std::uint32_t> types_of(const std::string& stream) {
  std::vector<std::uint32_t> types;
  for (const Block& block : blocks_of(stream)) {
    types.push_back(block.type);
  }
  return types;
}

class PcapngTest : public testing::Test {
 protected:
  PcapngWriter writer{PcapngWriter::LinkType::ethernet, 0};
  std::string out;
};

TEST_F(PcapngTest, begins_with_a_section_of_unknown_length) {
  PcapngWriter::start("flowfs", out);
  const auto blocks = blocks_of(out);
  ASSERT_EQ(blocks.size(), 1U);
  EXPECT_EQ(blocks[0].type, 0x0a0d0d0aU);
  EXPECT_EQ(number_at<std::uint32_t>(blocks[0].body, 0), 0x1a2b3c4dU);
  EXPECT_EQ(number_at<std::uint64_t>(blocks[0].body, 8), ~0ULL);
  EXPECT_NE(blocks[0].body.find("flowfs"), std::string::npos);
}

TEST_F(PcapngTest, counts_its_interfaces) {
  EXPECT_EQ(writer.interface("port 1", out), PcapngWriter::Interface{0});
  EXPECT_EQ(writer.interface("", out), PcapngWriter::Interface{1});
  const auto blocks = blocks_of(out);
  ASSERT_EQ(blocks.size(), 2U);
  EXPECT_EQ(number_at<std::uint16_t>(blocks[0].body, 0), 1);
  EXPECT_NE(blocks[0].body.find("port 1"), std::string::npos);
}

TEST_F(PcapngTest, writes_nothing_for_an_interface_it_does_not_have) {
  EXPECT_FALSE(writer.packet({.interface = PcapngWriter::Interface{0}, .bytes = {}}, out));
  EXPECT_FALSE(writer.statistics(PcapngWriter::Interface{0}, {}, out));
  EXPECT_EQ(out, "");
}

TEST_F(PcapngTest, pads_packets_of_any_length) {
  const auto interface = writer.interface("a", out);
  const auto bytes = frame(station(1), station(2));
  for (std::size_t length = 0; length < 9; ++length) {
    out.clear();
    ASSERT_TRUE(writer.packet({.interface = interface,
                               .time_ns = kTime,
                               .bytes = std::span(bytes).first(length),
                               .length = length},
                              out));
    const auto blocks = blocks_of(out);
    ASSERT_EQ(blocks.size(), 1U);
    EXPECT_EQ(number_at<std::uint32_t>(blocks[0].body, 12), length);
    EXPECT_EQ(std::memcmp(blocks[0].body.data() + 20, bytes.data(), length), 0);
  }
}

TEST_F(PcapngTest, keeps_of_a_packet_what_it_may_and_tells_its_length) {
  PcapngWriter cutting(PcapngWriter::LinkType::messages, 10);
  const auto interface = cutting.interface("a", out);
  out.clear();
  const auto bytes = frame(station(1), station(2));
  cutting.packet({.interface = interface, .bytes = bytes, .length = bytes.size()}, out);
  const auto blocks = blocks_of(out);
  ASSERT_EQ(blocks.size(), 1U);
  EXPECT_EQ(number_at<std::uint32_t>(blocks[0].body, 12), 10U);
  EXPECT_EQ(number_at<std::uint32_t>(blocks[0].body, 16), bytes.size());
}

TEST_F(PcapngTest, keeps_no_more_of_a_packet_than_readers_take) {
  const auto interface = writer.interface("a", out);
  out.clear();
  const std::vector<std::byte> bytes(300'000);
  writer.packet({.interface = interface, .bytes = bytes, .length = bytes.size()}, out);
  const auto blocks = blocks_of(out);
  ASSERT_EQ(blocks.size(), 1U);
  EXPECT_EQ(number_at<std::uint32_t>(blocks[0].body, 12), 262'144U);
  EXPECT_EQ(number_at<std::uint32_t>(blocks[0].body, 16), bytes.size());
}

TEST_F(PcapngTest, cuts_a_name_that_no_option_can_hold) {
  writer.interface(std::string(70'000, 'x'), out);
  EXPECT_THAT(types_of(out), ElementsAre(1));
}

// What tshark prints for a capture, or nothing where there is no tshark.
std::string read_with_tshark(const std::string& capture, const std::string& fields) {
  const std::string path =
      testing::TempDir() + "pcapng_test." + std::to_string(getpid()) + ".pcapng";
  std::ofstream(path, std::ios::binary) << capture;
  const std::string command = "tshark -n -r " + path + " -T fields -E separator=, " + fields;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string text;
  if (pipe) {
    for (int c = std::fgetc(pipe.get()); c != EOF; c = std::fgetc(pipe.get())) {
      text.push_back(static_cast<char>(c));
    }
  }
  std::filesystem::remove(path);
  return text;
}

TEST_F(PcapngTest, is_read_back_by_tshark) {
  if (std::system("command -v tshark >/dev/null") != 0) {
    GTEST_SKIP() << "tshark is not installed";
  }
  PcapngWriter::start("flowfs", out);
  const auto one = writer.interface("tap0", out);
  const auto tagged = frame(test::kBroadcast, station(1), {10});
  writer.packet({.interface = one, .time_ns = kTime, .bytes = tagged, .length = tagged.size()},
                out);
  const auto two = writer.interface("port 7", out);
  const auto plain = frame(station(1), station(2), {}, 3);
  writer.packet({.interface = two,
                 .time_ns = kTime + 1,
                 .bytes = plain,
                 .length = plain.size(),
                 .dropped = 12},
                out);
  writer.statistics(two, {.time_ns = kTime, .received = 100, .dropped = 12}, out);
  EXPECT_EQ(read_with_tshark(out,
                             "-e frame.interface_name -e frame.time_epoch -e frame.len -e eth.src "
                             "-e vlan.id -e frame.drop_count"),
            "tap0,1700000000.123456789,64,02:00:00:00:00:01,10,\n"
            "port 7,1700000000.123456790,17,02:00:00:00:00:02,,12\n");
}

TEST_F(PcapngTest, any_packets_are_read_back_by_tshark) {
  if (std::system("command -v tshark >/dev/null") != 0) {
    GTEST_SKIP() << "tshark is not installed";
  }
  std::mt19937 random(7);
  const auto below = [&](std::size_t limit) { return std::size_t{random()} % limit; };
  PcapngWriter messages(PcapngWriter::LinkType::messages, kLongest);
  PcapngWriter::start("flowfs", out);
  std::vector<PcapngWriter::Interface> interfaces;
  std::string expected;
  for (std::uint64_t time = kTime; time < kTime + kPackets; ++time) {
    if (interfaces.empty() || below(20) == 0) {
      interfaces.push_back(messages.interface(fmt::format("port {}", interfaces.size()), out));
    }
    if (below(10) == 0) {
      messages.statistics(interfaces[below(interfaces.size())],
                          {.time_ns = time, .received = random(), .dropped = random()}, out);
    }
    const std::size_t from = below(interfaces.size());
    std::vector<std::byte> bytes(below(2 * kLongest));
    std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
    const std::size_t lost = below(3);
    messages.packet({.interface = interfaces[from],
                     .time_ns = time,
                     .bytes = bytes,
                     .length = bytes.size(),
                     .dropped = lost},
                    out);
    expected += fmt::format("port {},1700000000.{},{},{},{}\n", from, time % 1'000'000'000,
                            bytes.size(), std::min<std::size_t>(bytes.size(), kLongest),
                            lost == 0 ? "" : std::to_string(lost));
  }
  EXPECT_EQ(read_with_tshark(out,
                             "-e frame.interface_name -e frame.time_epoch -e frame.len "
                             "-e frame.cap_len -e frame.drop_count"),
            expected);
}

TEST_F(PcapngTest, tshark_reads_messages_too) {
  if (std::system("command -v tshark >/dev/null") != 0) {
    GTEST_SKIP() << "tshark is not installed";
  }
  PcapngWriter messages(PcapngWriter::LinkType::messages, 0);
  PcapngWriter::start("flowfs", out);
  const auto one = messages.interface("chat", out);
  const std::string text = "hello\n";
  messages.packet({.interface = one,
                   .time_ns = kTime,
                   .bytes = std::as_bytes(std::span(text)),
                   .length = text.size()},
                  out);
  EXPECT_EQ(read_with_tshark(out, "-e frame.encap_type -e frame.len -e frame.interface_name"),
            "45,6,chat\n");
}

}  // namespace
}  // namespace flowfs::bus
