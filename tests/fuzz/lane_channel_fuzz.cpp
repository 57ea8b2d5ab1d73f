// SPDX-License-Identifier: BSD-3-Clause
// A channel whose mapped ends write what the input says, while its file ends go on and everybody
// attaches, detaches, shuts down and closes: no crash, no unbounded memory, and a flow beside it
// that nothing happens to.
#include <fuzzer/FuzzedDataProvider.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "flow/channel.hpp"
#include "pool/lane.hpp"
#include "pool/shared.hpp"

namespace {

using flowfs::Fd;
using flowfs::Loop;
using flowfs::Mapping;
using flowfs::Micros;
using flowfs::flow::Channel;
using flowfs::flow::EndIdentity;
using flowfs::flow::other;
using flowfs::flow::ReadOutcome;
using flowfs::flow::Side;
using flowfs::flow::WriteOutcome;

constexpr flowfs::flow::Limits kLimits{.mtu_bytes = 3'000, .depth_bytes = 6'000};

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

class Deaf : public flowfs::flow::Listener {
 public:
  void on_mapped_peer_activity(Channel& channel) override {
    (void)channel.readable(Side::client);
    (void)channel.writable(Side::server);
  }
};

// A pool of a few blocks, which are there until somebody takes them.
class Blocks : public flowfs::flow::BlockSource {
 public:
  static constexpr int kMost = 16;
  bool take(Side /*from*/, const flowfs_block& block, std::span<std::byte> copy) override {
    require(copy.size() == block.length && block.length >= 1 && block.length <= kLimits.mtu_bytes);
    std::ranges::fill(copy, static_cast<std::byte>(block.block));
    return block.pool == kPool && there > 0 && there-- > 0;
  }
  static constexpr std::uint64_t kPool = 7;
  int there = kMost;
};

struct World {
  std::unique_ptr<Loop> loop = Loop::create().value();
  Deaf listener;
  Blocks blocks;
  std::array<flowfs::pool::StatusFile, 2> status{flowfs::pool::StatusFile::create(1, 64).value(),
                                                 flowfs::pool::StatusFile::create(2, 64).value()};
  flowfs::flow::MappedSetup setup() {
    return {.loop = loop.get(),
            .listener = &listener,
            .blocks = &blocks,
            .ends = {EndIdentity{.flow = 1, .uid = 1, .gid = 1, .pid = 1, .status = &status[0]},
                     EndIdentity{.flow = 2, .uid = 2, .gid = 2, .pid = 2, .status = &status[1]}},
            .hot_ring_bytes = 4'096};
  }
};

class Trial {
 public:
  Trial(FuzzedDataProvider& input, World& world)
      : input_(&input), world_(&world), channel_(kLimits), neighbour_(kLimits) {
    world.blocks.there = Blocks::kMost;
    require(channel_.make_segments(world.setup()).has_value());
    map(Side::client);
    map(Side::server);
  }

  void step() {
    const Side side = input_->ConsumeBool() ? Side::client : Side::server;
    const bool was_corrupt = channel_.is_corrupt();
    switch (input_->ConsumeIntegralInRange(0, 15)) {
      case 0:
        scribble(side);
        break;
      case 1:
        header_word(side);
        break;
      case 2:
      case 3:
        honest_send(side);
        break;
      case 4:
        change_mode(side);
        break;
      case 5:
        news(side);
        break;
      case 6:
        wait(side);
        break;
      case 7:
        (void)channel_.readable(side);
        (void)channel_.writable(side);
        break;
      case 8:
      case 9:
      case 10:
        write(side);
        break;
      case 11:
        join(side);
        break;
      default:
        read(side);
    }
    require(!was_corrupt || channel_.is_corrupt());
    const std::size_t most = kLimits.depth_bytes + 2 * *Channel::segment_bytes(kLimits, 4'096) +
                             Blocks::kMost * kLimits.mtu_bytes;
    require(channel_.queued_bytes(side) <= most);
  }

  void finish() {
    const std::array<std::byte, 3> message{};
    require(neighbour_.write(Side::client, message) == WriteOutcome::ok);
    require(neighbour_.front(Side::server).rest.size() == message.size());
    channel_.close(Side::client);
    (void)channel_.front(Side::server);
    channel_.close(Side::server);
  }

 private:
  // A mapping that the program keeps, whatever happens to the end.
  void map(Side side) {
    if (const auto view = channel_.segment(side)) {
      auto mapping = Mapping::map(Fd(::dup(view->fd)), view->bytes, Mapping::Access::read_write);
      require(mapping.has_value());
      mappings_[static_cast<std::size_t>(side)] = std::move(*mapping);
    }
  }
  [[nodiscard]] std::span<std::byte> memory(Side side) const {
    return mappings_[static_cast<std::size_t>(side)].bytes();
  }
  void scribble(Side side) {
    const auto data =
        input_->ConsumeBytes<std::uint8_t>(input_->ConsumeIntegralInRange<std::size_t>(1, 48));
    const auto at = input_->ConsumeIntegralInRange<std::size_t>(0, 4'096 + 256);
    std::ranges::copy(std::as_bytes(std::span(data)), memory(side).data() + at);
  }
  // The words that the daemon reads, with values that are nearly right.
  void header_word(Side side) {
    flowfs_segment& header = flowfs::pool::segment_header(memory(side));
    const auto small = input_->ConsumeIntegralInRange<std::uint64_t>(0, 600);
    switch (input_->ConsumeIntegralInRange(0, 5)) {
      case 0:
        header.cursors.hot = small * 8;
        break;
      case 1:
        header.cursors.bulk = small * 32;
        break;
      case 2:
        header.cursors.generation = small % 4;
        break;
      case 3:
        header.shutdown = static_cast<std::uint32_t>(small % 4);
        break;
      case 4:
        header.sleep_data = static_cast<std::uint32_t>(small);
        break;
      default:
        header.bell += 1;
    }
  }
  // Records that are right, behind what a mapped end has sent so far.
  void honest_send(Side side) {
    if (!channel_.is_mapped(side)) {
      return;
    }
    const auto geometry = flowfs::pool::Geometry::plan(3'000, 6'000, 4'096).value();
    auto& position = positions_[static_cast<std::size_t>(side)];
    const auto generation = channel_.segment(side)->generation;
    flowfs::pool::LaneWriter writer(geometry, memory(side), memory(other(side)), generation,
                                    position);
    const auto length = input_->ConsumeIntegralInRange<std::uint32_t>(1, 3'000);
    if (length % 3 == 0) {
      (void)writer.stage_block({.pool = Blocks::kPool + length % 2,
                                .block = length,
                                .generation = 1,
                                .offset = 0,
                                .length = length});
      writer.publish();
    } else {
      (void)writer.write(std::vector<std::byte>(length));
    }
    position = writer.position();
  }
  void change_mode(Side side) {
    if (channel_.is_mapped(side)) {
      require(channel_.detach(side).has_value());
      return;
    }
    require(channel_.make_segments(world_->setup()).has_value());
    if (const auto answer = channel_.attach(side)) {
      positions_[static_cast<std::size_t>(side)] = answer->write;
      require(flowfs::pool::Geometry::from(*answer).has_value());
    }
    map(Side::client);
    map(Side::server);
  }
  void join(Side side) {
    constexpr std::size_t kMostRecords = 2 * 4'096 / (sizeof(flowfs_record) + sizeof(flowfs_block));
    channel_.set_pool(side, input_->ConsumeIntegralInRange<std::uint64_t>(0, 2));
    require(channel_.unread_blocks(side).size() <= kMostRecords);
    (void)channel_.counters(side);
  }
  void news(Side side) {
    switch (input_->ConsumeIntegralInRange(0, 9)) {
      case 0:
        channel_.shutdown_read(side);
        break;
      case 1:
        channel_.shutdown_write(side);
        break;
      case 2:
        channel_.close(side);
        break;
      default:
        channel_.set_state(side, FLOWFS_STATE_ALLOCATED);
    }
  }
  void wait(Side side) {
    switch (input_->ConsumeIntegralInRange(0, 3)) {
      case 0:
        channel_.wait_for(side, {.data = true});
        break;
      case 1:
        channel_.wait_for(
            side, {.data = false, .room_bytes = 1 + input_->ConsumeIntegral<std::uint8_t>() * 11U});
        break;
      case 2:
        channel_.stop_waiting(side);
        break;
      default:
        world_->loop->run_once(Micros{0});
    }
  }
  void write(Side side) {
    const std::vector<std::byte> message(input_->ConsumeIntegralInRange<std::size_t>(1, 3'001));
    const WriteOutcome outcome = channel_.write(side, message);
    require(!channel_.is_corrupt() || outcome == WriteOutcome::corrupt);
  }
  void read(Side side) {
    const Channel::Front front = channel_.front(side);
    if (front.outcome == ReadOutcome::ok) {
      require(!front.rest.empty() && front.rest.size() <= kLimits.mtu_bytes);
      copy_.assign(front.rest.begin(), front.rest.end());
      channel_.consume(side, input_->ConsumeIntegralInRange<std::size_t>(1, front.rest.size()));
    }
  }

  FuzzedDataProvider* input_;
  World* world_;
  Channel channel_;
  Channel neighbour_;
  std::array<Mapping, 2> mappings_;
  std::array<flowfs::pool::Position, 2> positions_{};
  std::vector<std::byte> copy_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  FuzzedDataProvider input(data, size);
  {
    Trial trial(input, world);
    for (int i = 0; i < 300 && input.remaining_bytes() > 0; ++i) {
      trial.step();
    }
    trial.finish();
  }
  world.loop->run_once(Micros{0});
  require(world.status[0].in_use() == 0 && world.status[1].in_use() == 0);
  return 0;
}
