// SPDX-License-Identifier: BSD-3-Clause
// Any bytes as frames that come into a switch: each goes to ports that are there, but not back,
// each once, tagged as the port's VLANs say; or to nobody, for a reason.
//
// The input: a byte for each of four ports (its VLANs), then frames, each after a byte that says
// which port it comes from and one for its length.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <span>
#include <vector>

#include "bus/ethernet_policy.hpp"

namespace {

using flowfs::Instant;
using flowfs::bus::Decision;
using flowfs::bus::Delivery;
using flowfs::bus::Drop;
using flowfs::bus::EditedFrame;
using flowfs::bus::parse_frame;
using flowfs::bus::PortNumber;
using flowfs::bus::PortVlans;
using flowfs::bus::SwitchPolicy;

constexpr unsigned kPorts = 4;
constexpr std::size_t kMost = 128;
constexpr std::array<const char*, 5> kVlans{"any", "access 1", "access 2", "trunk 1-2",
                                            "trunk 2,3,4094"};

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

void check_edit(const Delivery& delivery, std::span<const std::byte> frame,
                const PortVlans& vlans) {
  const EditedFrame parts = flowfs::bus::edited(frame, delivery.edit);
  std::vector<std::byte> bytes(parts.size());
  parts.copy_to(bytes);
  const auto before = parse_frame(frame);
  require(before.has_value());
  require(bytes.size() + flowfs::bus::kTagBytes >= frame.size() &&
          bytes.size() <= frame.size() + flowfs::bus::kTagBytes);
  const auto after = parse_frame(bytes);
  // Without its tag the frame may end inside one that was behind it.
  if (!after) {
    require(bytes.size() < frame.size());
    return;
  }
  require(after->source == before->source && after->destination == before->destination);
  if (vlans.kind() == PortVlans::Kind::trunk) {
    require(vlans.takes(after->tci).has_value());
  }
}

void check(const Decision& decision, PortNumber from, std::span<const std::byte> frame,
           const SwitchPolicy& policy) {
  require(decision.deliveries().empty() == (decision.drop() != Drop::none));
  std::set<PortNumber> to;
  for (const Delivery& delivery : decision.deliveries()) {
    require(delivery.port != from && to.insert(delivery.port).second);
    require(policy.vlans(delivery.port) != nullptr && !policy.is_shut(delivery.port));
    check_edit(delivery, frame, *policy.vlans(delivery.port));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto input = std::as_bytes(std::span(data, size));
  if (input.size() < kPorts) {
    return 0;
  }
  SwitchPolicy policy(kMost, {.most = 16, .most_of_port = 8, .age = std::chrono::seconds(10)});
  for (unsigned port = 0; port < kPorts; ++port) {
    policy.join(PortNumber{port});
    const auto which = std::to_integer<std::size_t>(input[port]) % kVlans.size();
    policy.set_vlans(PortNumber{port}, *PortVlans::parse(kVlans[which]));
  }
  input = input.subspan(kPorts);
  Decision decision;
  for (Instant now{}; input.size() >= 2; now += std::chrono::milliseconds(100)) {
    const PortNumber from{std::to_integer<unsigned>(input[0]) % (kPorts + 1U)};
    const auto length = std::to_integer<std::size_t>(input[1]);
    input = input.subspan(2);
    const auto frame = input.first(std::min(length, input.size()));
    input = input.subspan(frame.size());
    policy.decide(from, frame, now, decision);
    check(decision, from, frame, policy);
    require(policy.stations().size() <= 16);
  }
  return 0;
}
