// SPDX-License-Identifier: BSD-3-Clause
// A switch against a model that does the same in the plainest way, over random frames, joins,
// leaves, VLANs and waits. A failure names the seed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "bus/ethernet_policy.hpp"
#include "frames.hpp"

namespace flowfs::bus {
namespace {

constexpr std::size_t kMost = 200;
constexpr unsigned kPorts = 6;
constexpr unsigned kStations = 12;
constexpr unsigned kSteps = 4000;
constexpr auto kAge = std::chrono::seconds(300);

// What a port of the model is in: words instead of bits.
struct ModelPort {
  std::string text = "any";
  std::set<unsigned> vlans;  // of a trunk; the one of an access port
};

struct ModelFrame {
  unsigned to = 0;  // 0: everybody
  unsigned from = 0;
  std::vector<std::uint16_t> tags;
  std::size_t payload = 0;

  [[nodiscard]] test::Frame bytes() const {
    auto result = test::frame(to == 0 ? test::kBroadcast : test::station(to), test::station(from),
                              {}, payload);
    auto at = result.begin() + kAddressesBytes;
    for (const std::uint16_t tci : tags) {
      test::Frame tag;
      test::append(tag, kTagType, 2);
      test::append(tag, tci, 2);
      at = result.insert(at, tag.begin(), tag.end()) + kTagBytes;
    }
    return result;
  }
};

class Model {
 public:
  struct Heard {
    unsigned port = 0;
    Instant when;
  };

  // What each port gets.
  std::map<unsigned, ModelFrame> send(unsigned from, const ModelFrame& frame, Instant now) {
    const auto vlan = vlan_in(ports.at(from), frame);
    if (frame.bytes().size() > kMost || !vlan) {
      return {};
    }
    // The table writes down when a station was heard once a second at most.
    Heard& heard = stations[{*vlan, frame.from}];
    if (heard.port != from || now - heard.when >= std::chrono::seconds(1)) {
      heard = {from, now};
    }
    std::map<unsigned, ModelFrame> result;
    const auto known = stations.find({*vlan, frame.to});
    const bool is_known = known != stations.end() && now - known->second.when < kAge;
    for (const auto& [number, port] : ports) {
      if (number == from || (is_known && known->second.port != number)) {
        continue;
      }
      if (const auto changed = frame_out(port, *vlan, frame)) {
        result.emplace(number, *changed);
      }
    }
    return result;
  }

  void forget(unsigned port) {
    std::erase_if(stations, [port](const auto& item) { return item.second.port == port; });
  }

  std::map<unsigned, ModelPort> ports;
  std::map<std::pair<unsigned, unsigned>, Heard> stations;  // by VLAN and station

 private:
  static std::optional<unsigned> vlan_in(const ModelPort& port, const ModelFrame& frame) {
    const unsigned tag = frame.tags.empty() ? 0 : frame.tags[0] % 4096;
    if (port.text == "any") {
      return tag;
    }
    if (port.text.starts_with("access")) {
      return tag == 0 ? std::optional(*port.vlans.begin()) : std::nullopt;
    }
    return port.vlans.contains(tag) ? std::optional(tag) : std::nullopt;
  }

  static std::optional<ModelFrame> frame_out(const ModelPort& port, unsigned vlan,
                                             ModelFrame frame) {
    if (port.text != "any" && !port.vlans.contains(vlan)) {
      return std::nullopt;
    }
    if (port.text.starts_with("access")) {
      if (!frame.tags.empty()) {
        frame.tags.erase(frame.tags.begin());
      }
    } else if (vlan != 0 && frame.tags.empty()) {
      frame.tags.push_back(static_cast<std::uint16_t>(vlan));
    } else if (vlan != 0) {
      frame.tags[0] = static_cast<std::uint16_t>(frame.tags[0] / 4096 * 4096 + vlan);
    }
    return frame;
  }
};

class Trial {
 public:
  explicit Trial(unsigned seed) : random_(seed) {}

  void step() {
    now_ += std::chrono::milliseconds(below(8) == 0 ? below(400'000) : below(50));
    switch (below(40)) {
      case 0:
        join();
        break;
      case 1:
        leave();
        break;
      case 2:
        set_vlans();
        break;
      default:
        send();
    }
  }

  unsigned delivered = 0;

 private:
  unsigned below(unsigned end) {
    return std::uniform_int_distribution<unsigned>(0, end - 1)(random_);
  }

  void join() {
    const unsigned port = 1 + below(kPorts);
    policy_.join(PortNumber{port});
    model_.ports.try_emplace(port);
  }

  void leave() {
    const unsigned port = 1 + below(kPorts);
    policy_.leave(PortNumber{port});
    if (model_.ports.erase(port) > 0) {
      model_.forget(port);
    }
  }

  void set_vlans() {
    const unsigned port = 1 + below(kPorts);
    const unsigned a = 10 + below(3);
    const unsigned b = 10 + below(3);
    ModelPort wanted;
    switch (below(3)) {
      case 0:
        break;
      case 1:
        wanted = {"access " + std::to_string(a), {a}};
        break;
      default:
        wanted = {"trunk " + std::to_string(a) + "," + std::to_string(b), {a, b}};
    }
    const bool joined = model_.ports.contains(port);
    EXPECT_EQ(policy_.set_vlans(PortNumber{port}, PortVlans::parse(wanted.text).value()), joined);
    if (joined) {
      model_.ports[port] = wanted;
      model_.forget(port);
    }
  }

  void send() {
    if (model_.ports.empty()) {
      return;
    }
    const unsigned from =
        std::next(model_.ports.begin(), below(static_cast<unsigned>(model_.ports.size())))->first;
    ModelFrame frame{.to = below(kStations), .from = 1 + below(kStations), .tags = {}};
    // Each differs from those around it, so that none looks as if it ran in a loop.
    frame.payload = 30 + count_++ % 160;
    for (unsigned tags = below(3); tags > 0; --tags) {
      frame.tags.push_back(
          static_cast<std::uint16_t>(below(8) << 13 | (below(4) == 0 ? 0 : 9 + below(5))));
    }
    const test::Frame bytes = frame.bytes();
    policy_.decide(PortNumber{from}, bytes, now_, decision_);
    std::map<unsigned, test::Frame> expected;
    for (const auto& [port, changed] : model_.send(from, frame, now_)) {
      expected.emplace(port, changed.bytes());
    }
    std::map<unsigned, test::Frame> got;
    for (const Delivery& delivery : decision_.deliveries()) {
      got.emplace(static_cast<unsigned>(delivery.port), test::after(bytes, delivery.edit));
    }
    EXPECT_EQ(got, expected);
    EXPECT_EQ(got.size(), decision_.deliveries().size());
    EXPECT_EQ(got.empty(), decision_.drop() != Drop::none);
    delivered += static_cast<unsigned>(got.size());
  }

  std::mt19937 random_;
  SwitchPolicy policy_{kMost};
  Model model_;
  Decision decision_;
  Instant now_{std::chrono::hours(1)};
  unsigned count_ = 0;
};

TEST(SwitchModel, decides_as_the_model_does) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    Trial trial(seed);
    for (unsigned i = 0; i < kSteps && !testing::Test::HasFailure(); ++i) {
      trial.step();
    }
    ASSERT_FALSE(testing::Test::HasFailure()) << "seed " << seed;
    EXPECT_GT(trial.delivered, kSteps / 4);
  }
}

}  // namespace
}  // namespace flowfs::bus
