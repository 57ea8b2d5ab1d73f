// SPDX-License-Identifier: BSD-3-Clause
#include "bus/ethernet_bus.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <map>

#include "frames.hpp"

namespace flowfs::bus {
namespace {

using test::frame;
using test::Frame;
using test::station;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr Instant kNow{std::chrono::hours(1)};
constexpr std::size_t kMost = 1514;

class Quiet : public Member {
 public:
  void on_message() override {}
  void on_room() override {}
  void on_cut_off() override {}
};

// A bus of ports 1, 2 and 3, of which 3 is an interface.
class EthernetBusTest : public testing::Test {
 protected:
  EthernetBusTest() {
    for (const unsigned port : {1U, 2U, 3U}) {
      data.join(PortId{port}, PortNumber{port}, quiet, {.receive = true, .send = true});
      ethernet.join(PortNumber{port},
                    port == 3 ? EthernetBus::Frames::with_offload : EthernetBus::Frames::plain);
    }
  }

  EthernetBus::Sent send(unsigned from, const Frame& message) {
    return ethernet.send(data, PortId{from}, PortNumber{from}, message, kNow);
  }

  std::vector<Frame> read_all(unsigned port) {
    std::vector<Frame> messages;
    for (auto front = data.front(PortId{port}); front.outcome == ReadOutcome::ok;
         front = data.front(PortId{port})) {
      messages.emplace_back(front.rest.begin(), front.rest.end());
      data.consume(PortId{port}, front.rest.size(), kNow);
    }
    return messages;
  }

  std::uint64_t count(unsigned port, Drop drop) {
    return ethernet.drops(PortNumber{port})[static_cast<std::size_t>(drop)];
  }

  static Frame with_header(const Frame& plain, std::uint8_t flags = 0) {
    Frame message(kOffloadBytes);
    message[0] = std::byte{flags};
    message.insert(message.end(), plain.begin(), plain.end());
    return message;
  }

  Quiet quiet;
  Bus data{{.mtu_bytes = EthernetBus::kMostMessage}};
  EthernetBus ethernet{EthernetBus::Kind::learning_switch, kMost};
};

TEST_F(EthernetBusTest, gives_each_port_what_it_can_read) {
  const Frame plain = frame(test::kBroadcast, station(1));
  EXPECT_EQ(send(1, plain).outcome, SendOutcome::ok);
  EXPECT_THAT(read_all(1), IsEmpty());
  EXPECT_THAT(read_all(2), ElementsAre(plain));
  EXPECT_THAT(read_all(3), ElementsAre(with_header(plain)));
  EXPECT_EQ(count(1, Drop::none), 1U);
}

TEST_F(EthernetBusTest, takes_the_header_of_an_interface_off) {
  const Frame plain = frame(test::kBroadcast, station(3));
  send(3, with_header(plain));
  EXPECT_THAT(read_all(1), ElementsAre(plain));
  EXPECT_THAT(read_all(2), ElementsAre(plain));
}

TEST_F(EthernetBusTest, gives_the_tag_that_the_vlan_of_a_port_wants) {
  ethernet.policy().set_vlans(PortNumber{1}, *PortVlans::parse("access 10"));
  ethernet.policy().set_vlans(PortNumber{2}, *PortVlans::parse("access 10"));
  ethernet.policy().set_vlans(PortNumber{3}, *PortVlans::parse("trunk 10"));
  send(1, frame(test::kBroadcast, station(1)));
  EXPECT_THAT(read_all(2), ElementsAre(frame(test::kBroadcast, station(1))));
  EXPECT_THAT(read_all(3), ElementsAre(with_header(frame(test::kBroadcast, station(1), {10}))));
}

TEST_F(EthernetBusTest, counts_why_a_frame_is_not_delivered) {
  EXPECT_EQ(send(1, Frame(13)).outcome, SendOutcome::ok);
  EXPECT_EQ(count(1, Drop::runt), 1U);
  EXPECT_EQ(send(1, Frame(kMost + 1)).outcome, SendOutcome::too_long);
  EXPECT_EQ(count(1, Drop::oversize), 1U);
  EXPECT_EQ(send(3, Frame(kOffloadBytes - 1)).outcome, SendOutcome::ok);
  EXPECT_EQ(send(3, Frame(kOffloadBytes + 13)).outcome, SendOutcome::ok);
  EXPECT_EQ(count(3, Drop::runt), 2U);
  Frame strange = with_header(frame(test::kBroadcast, station(3)));
  strange[1] = std::byte{3};
  send(3, strange);
  Frame beyond = with_header(frame(test::kBroadcast, station(3)), 1);
  beyond[6] = beyond[7] = std::byte{0xff};
  send(3, beyond);
  EXPECT_EQ(count(3, Drop::malformed), 2U);
  EXPECT_THAT(read_all(2), IsEmpty());
  EXPECT_EQ(ethernet.drops()[static_cast<std::size_t>(Drop::runt)], 3U);
  EXPECT_EQ(ethernet.drops()[static_cast<std::size_t>(Drop::none)], 0U);
}

TEST_F(EthernetBusTest, a_lossless_sender_waits_for_room) {
  data.set_limits({.lossless = true, .mtu_bytes = EthernetBus::kMostMessage, .depth_bytes = 1000},
                  kNow);
  send(1, frame(station(2), station(1), {}, 700));
  EXPECT_EQ(send(1, frame(station(2), station(1), {}, 701)).outcome, SendOutcome::full);
  EXPECT_EQ(count(1, Drop::none), 1U);
}

TEST_F(EthernetBusTest, a_frame_for_which_there_is_no_room_in_every_form_is_given_to_nobody) {
  const Frame plain = frame(test::kBroadcast, station(1), {}, 486);
  const std::size_t cost = MessageLog::cost(plain.size());
  data.set_limits(
      {.lossless = true, .mtu_bytes = EthernetBus::kMostMessage, .depth_bytes = 3 * cost}, kNow);
  EXPECT_EQ(send(1, plain).outcome, SendOutcome::ok);
  EXPECT_EQ(send(1, plain).outcome, SendOutcome::full);
  EXPECT_THAT(read_all(2), ElementsAre(plain));
  EXPECT_THAT(read_all(3), ElementsAre(with_header(plain)));
  EXPECT_EQ(data.totals().dropped, 0U);
}

TEST_F(EthernetBusTest, a_frame_counts_once_in_whatever_forms_it_is_given) {
  ethernet.policy().set_vlans(PortNumber{1}, *PortVlans::parse("access 10"));
  ethernet.policy().set_vlans(PortNumber{2}, *PortVlans::parse("trunk 10"));
  const Frame plain = frame(test::kBroadcast, station(1));
  EXPECT_EQ(send(1, plain).outcome, SendOutcome::ok);
  EXPECT_EQ(data.counts(PortId{1}).sent, 1U);
  EXPECT_EQ(data.counts(PortId{1}).sent_bytes, plain.size());
  for (const unsigned port : {2U, 3U}) {
    EXPECT_EQ(read_all(port).size(), 1U);
    EXPECT_EQ(data.counts(PortId{port}).delivered, 1U);
    EXPECT_EQ(data.counts(PortId{port}).delivered_bytes, plain.size() + kTagBytes);
  }
}

TEST_F(EthernetBusTest, what_stands_for_several_frames_counts_as_those_to_everybody) {
  data.join(PortId{4}, PortNumber{4}, quiet, {.receive = true, .send = true});
  ethernet.join(PortNumber{4}, EthernetBus::Frames::with_offload);
  Frame segments(kOffloadBytes);
  segments[0] = segments[1] = std::byte{1};  // a checksum to be filled in; TCP over IPv4
  const std::array<std::uint16_t, 4> header{54, 100, 34, 16};  // segments of 100 bytes
  std::memcpy(segments.data() + 2, header.data(), sizeof header);
  const Frame tcp = test::tcp4_frame(test::kBroadcast, station(3), 250);
  segments.insert(segments.end(), tcp.begin(), tcp.end());
  EXPECT_EQ(send(3, segments).outcome, SendOutcome::ok);
  constexpr std::size_t kHeaders = 54;
  EXPECT_EQ(data.counts(PortId{3}).sent, 3U);
  EXPECT_EQ(data.counts(PortId{3}).sent_bytes, 3 * kHeaders + 250);
  EXPECT_EQ(count(3, Drop::none), 3U);
  EXPECT_EQ(data.counts(PortId{4}).lag, 3U);
  EXPECT_EQ(read_all(1).size(), 3U);
  EXPECT_THAT(read_all(4), ElementsAre(segments));
  for (const unsigned port : {1U, 4U}) {
    EXPECT_EQ(data.counts(PortId{port}).delivered, 3U);
    EXPECT_EQ(data.counts(PortId{port}).delivered_bytes, 3 * kHeaders + 250);
  }
  EXPECT_EQ(data.check_invariants(), "");
}

TEST_F(EthernetBusTest, forgets_the_counts_of_a_port_that_left) {
  send(1, Frame(1));
  ethernet.leave(PortNumber{1});
  EXPECT_EQ(count(1, Drop::runt), 0U);
  EXPECT_EQ(ethernet.drops()[static_cast<std::size_t>(Drop::runt)], 1U);
  send(2, frame(test::kBroadcast, station(2)));
  EXPECT_THAT(read_all(1), IsEmpty());
}

}  // namespace
}  // namespace flowfs::bus
