// SPDX-License-Identifier: BSD-3-Clause
// Members of a pool killed at random while they allocate, free, send and receive as fast as they
// can: nothing is leaked, nothing owned twice, and what a dead sender published is delivered.
//
// Two flows share a pool; an end of one is killed while the other flow goes on. FLOWFS_LONG=1 for
// 10,000 kills.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "../unit/pool/lane_fixture.hpp"
#include "../unit/pool/pool_fixture.hpp"

namespace flowfs::crash {
namespace {

using pool::BlockRef;
using pool::CursorPublisher;
using pool::Generation;
using pool::Geometry;
using pool::Holder;
using pool::LaneNumber;
using pool::LaneReader;
using pool::LaneWriter;
using pool::PoolGeometry;
using pool::PoolKeeper;
using pool::PoolMemory;
using pool::Position;
using pool::Segment;
using pool::Slab;
using pool::test::kSerial;

constexpr Generation kGeneration{1};
constexpr Position kStart{.hot = 0, .bulk = 0, .sequence = 0};
constexpr unsigned kClasses = 2;
constexpr std::size_t kMostHeld = 6;
constexpr std::chrono::seconds kPatience{60};

PoolGeometry pool_shape() { return pool::test::pool_geometry({{64, 37}, {256, 20}}, 3); }
Geometry lane_shape() { return pool::test::geometry(256); }

// What the daemon and one end tell each other, besides the pool and the lanes. Everything in it is
// seq_cst: it stands for system calls.
struct Slot {
  std::atomic<std::uint64_t> operations{0};
  std::atomic<bool> peer_gone{false};
  std::atomic<std::uint64_t> closed_at{FLOWFS_LANE_OPEN};
};

// Why a member gave up: its exit status.
enum Fault : std::uint8_t { kNone, kNotMine, kWrongMark, kNotDelivered, kBadLane, kDrained };

// The blocks of a member hold a mark that only their owner writes.
class Member {
 public:
  struct Lane {
    std::span<std::byte> own;
    std::span<const std::byte> peer;
    LaneNumber number;
  };
  Member(std::span<std::byte> pool, Holder self, const Lane& lane, Slot& slot, unsigned seed)
      : slab_(pool_shape(), pool, self, seed),
        lane_(lane),
        slot_(&slot),
        random_(seed),
        mark_(std::uint64_t{std::to_underlying(self)} << 32),
        writer_(lane_shape(), lane.own, lane.peer, kGeneration, kStart),
        reader_(lane_shape(), lane.peer, kStart),
        cursors_(lane_shape(), pool::segment_header(lane.own).cursors, kGeneration, kStart) {}

  // Until the peer is gone; then reads to the end and gives everything back. Returns a Fault.
  Fault live() {
    while (!slot_->peer_gone) {
      step();
      ++slot_->operations;
      if (fault_ != kNone) {
        return fault_;
      }
    }
    reader_.set_end(slot_->closed_at);
    while (fault_ == kNone && receive(true)) {
      give_back();
    }
    while (fault_ == kNone && !held_.empty()) {
      give_back();
    }
    return fault_;
  }

 private:
  void step() {
    switch (random_() % 4) {
      case 0:
        allocate();
        break;
      case 1:
        give_back();
        break;
      case 2:
        send();
        break;
      default:
        receive(false);
    }
  }
  void allocate() {
    if (held_.size() < kMostHeld) {
      if (const auto ref = slab_.try_allocate(static_cast<unsigned>(random_() % kClasses))) {
        own(*ref);
      }
    }
  }
  void give_back() {
    if (const auto ref = pick(); ref && !slab_.free(*ref)) {
      fault_ = kNotMine;
    }
  }
  void send() {
    if (writer_.room_for(1, LaneWriter::Use::block) != LaneWriter::Outcome::ok) {
      return;
    }
    const auto ref = pick();
    if (!ref) {
      return;
    }
    put_mark(*ref, std::to_underlying(lane_.number) + writer_.position().sequence);
    const auto flying = slab_.hand_over(*ref, lane_.number);
    if (!flying ||
        writer_.stage_block(pool::test::descriptor(*flying, 8)) != LaneWriter::Outcome::ok) {
      fault_ = kNotMine;
      return;
    }
    writer_.publish();
    // The receiver may have died before it was published, and nobody would look for it.
    if (slot_->peer_gone && slab_.take_back(*flying, lane_.number)) {
      own(*flying);
    }
  }
  // False: there is nothing more now.
  bool receive(bool draining) {
    LaneReader::Record record;
    const auto outcome = reader_.peek(record);
    if (outcome != LaneReader::Outcome::record || !record.block) {
      const auto expected = draining ? LaneReader::Outcome::end : LaneReader::Outcome::empty;
      fault_ = outcome == expected ? fault_ : kBadLane;
      publish_cursors();
      return false;
    }
    if (!draining && held_.size() >= kMostHeld) {
      return true;
    }
    const BlockRef ref{.block = record.block->block, .generation = record.block->generation};
    // Nobody takes a block back from a receiver that lives.
    if (!slab_.take(ref)) {
      fault_ = kNotDelivered;
      return false;
    }
    if (mark_of(ref) != peer_lane() + record.sequence) {
      fault_ = kWrongMark;
      return false;
    }
    own(ref);
    reader_.pop();
    if (cursors_.due(reader_.position())) {
      publish_cursors();
    }
    return true;
  }
  void publish_cursors() {
    if (cursors_.behind(reader_.position())) {
      cursors_.publish(reader_.position());
    }
  }
  // Both ends of a flow are given their lanes one after the other, the first an even number.
  [[nodiscard]] std::uint64_t peer_lane() const { return std::to_underlying(lane_.number) ^ 1U; }

  void own(BlockRef ref) {
    put_mark(ref, mark_ + ref.block);
    held_.push_back(ref);
  }
  std::optional<BlockRef> pick() {
    if (held_.empty()) {
      return std::nullopt;
    }
    std::swap(held_[random_() % held_.size()], held_.back());
    const BlockRef ref = held_.back();
    held_.pop_back();
    if (mark_of(ref) != mark_ + ref.block) {
      fault_ = kWrongMark;
    }
    return ref;
  }
  void put_mark(BlockRef ref, std::uint64_t mark) {
    std::memcpy(slab_.bytes(ref).data(), &mark, sizeof mark);
  }
  [[nodiscard]] std::uint64_t mark_of(BlockRef ref) const {
    std::uint64_t mark = 0;
    std::memcpy(&mark, slab_.bytes(ref).data(), sizeof mark);
    return mark;
  }

  Slab slab_;
  Lane lane_;
  Slot* slot_;
  std::mt19937 random_;
  std::uint64_t mark_;
  LaneWriter writer_;
  LaneReader reader_;
  CursorPublisher cursors_;
  std::vector<BlockRef> held_;
  Fault fault_ = kNone;
};

// Zeroed memory that a forked child shares.
class SharedSlots {
 public:
  SharedSlots() {
    void* data =
        ::mmap(nullptr, sizeof(Slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FLOWFS_CHECK(data != MAP_FAILED);
    slots_ = new (data) Slots;
  }
  SharedSlots(const SharedSlots&) = delete;
  SharedSlots& operator=(const SharedSlots&) = delete;
  ~SharedSlots() { ::munmap(slots_, sizeof(Slots)); }
  Slot& operator[](std::size_t side) const { return (*slots_)[side]; }

 private:
  using Slots = std::array<Slot, 2>;
  Slots* slots_;
};

// Two processes with a lane each way, and what the daemon knows of them.
class Flow {
 public:
  Flow(const PoolMemory& memory, PoolKeeper& keeper, unsigned seed) : keeper_(&keeper) {
    for (End& end : ends_) {
      end.holder = keeper.issue_holder().value();
    }
    LaneNumber first = keeper.issue_lane().value();
    while (std::to_underlying(first) % 2 != 0) {
      keeper.end_lane(first, {}, Instant{});
      first = keeper.issue_lane().value();
    }
    ends_[0].lane = first;
    ends_[1].lane = keeper.issue_lane().value();
    for (std::size_t side = 0; side < 2; ++side) {
      ends_[side].pid = ::fork();
      if (ends_[side].pid == 0) {
        run(memory, side, seed * 2 + static_cast<unsigned>(side));
      }
      FLOWFS_CHECK(ends_[side].pid > 0);
    }
  }
  Flow(const Flow&) = delete;
  Flow& operator=(const Flow&) = delete;
  ~Flow() {
    for (End& end : ends_) {
      if (end.pid > 0) {
        ::kill(end.pid, SIGKILL);
        ::waitpid(end.pid, nullptr, 0);
      }
    }
  }

  // Until an end has done so much, or is no more.
  void wait_for_operations(std::size_t side, std::uint64_t operations) {
    const Instant deadline = later(Clock::now(), kPatience);
    while (slots_[side].operations < operations && Clock::now() < deadline && is_alive(side)) {
      std::this_thread::yield();
    }
  }
  // Kills one end, does what a daemon does then, and lets the other come to its end.
  void kill(std::size_t side, Instant& now) {
    End& dead = ends_[side];
    End& other = ends_[1 - side];
    ::kill(dead.pid, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(std::exchange(dead.pid, 0), &status, 0) > 0, true);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it failed before, with " << WEXITSTATUS(status);
    keeper_->retire(dead.holder, now);
    keeper_->end_lane(dead.lane, unread(side), now);
    slots_[1 - side].peer_gone = true;
    keeper_->end_lane(other.lane, {}, now);
    now += PoolKeeper::kQuarantine;
    keeper_->sweep(now);
    ASSERT_EQ(::waitpid(std::exchange(other.pid, 0), &status, 0) > 0, true);
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_EQ(WEXITSTATUS(status), kNone);
    keeper_->end_lane(dead.lane, {}, now);
    keeper_->retire(other.holder, now);
    now += PoolKeeper::kQuarantine;
    keeper_->sweep(now);
  }

 private:
  struct End {
    Holder holder{};
    LaneNumber lane{};
    pid_t pid = 0;
    Segment segment = Segment::create(lane_shape(), 1, kGeneration).value();
  };

  [[noreturn]] void run(const PoolMemory& memory, std::size_t side, unsigned seed) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // The daemon's mappings are not inherited.
    const auto map = [](const Fd& fd, std::size_t bytes) {
      return Mapping::map(fd, bytes, Mapping::Access::read_write).value();
    };
    const Mapping pool = map(memory.fd(), pool_shape().pool_bytes());
    const Mapping own = map(ends_[side].segment.fd(), lane_shape().segment_bytes());
    const Mapping peer = map(ends_[1 - side].segment.fd(), lane_shape().segment_bytes());
    Member member(pool.bytes(), ends_[side].holder,
                  {.own = own.bytes(), .peer = peer.bytes(), .number = ends_[side].lane},
                  slots_[side], seed);
    ::_exit(member.live());
  }
  // What the dead end has published and the other, by its cursors, not read; closes the lane there.
  std::vector<BlockRef> unread(std::size_t dead) {
    const flowfs_cursors& read = ends_[1 - dead].segment.header().cursors;
    const auto from = [&](const std::uint64_t& word) {
      return pool::shared(word).load(std::memory_order_seq_cst);
    };
    LaneReader reader(
        lane_shape(), ends_[dead].segment.bytes(),
        {.hot = from(read.hot), .bulk = from(read.bulk), .sequence = FLOWFS_SEQUENCE_ANY});
    std::vector<BlockRef> blocks;
    LaneReader::Record record;
    for (; reader.peek(record) == LaneReader::Outcome::record; reader.pop()) {
      blocks.push_back({.block = record.block->block, .generation = record.block->generation});
    }
    slots_[1 - dead].closed_at = reader.position().hot;
    return blocks;
  }
  bool is_alive(std::size_t side) const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(ends_[side].pid), &info,
                    WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  }

  PoolKeeper* keeper_;
  SharedSlots slots_;
  std::array<End, 2> ends_;
};

int kills_wanted() {
  const char* text = std::getenv("FLOWFS_LONG");  // NOLINT(concurrency-mt-unsafe)
  return text != nullptr && std::string_view(text) == "1" ? 10'000 : 300;
}

// Nothing is alive: everything is free, and can be had once.
void check_quiet(PoolMemory& memory, PoolKeeper& keeper, Instant now) {
  keeper.sweep(now);
  ASSERT_EQ(keeper.numbers(), 0U);
  for (unsigned i = 0; i < kClasses; ++i) {
    const std::uint32_t blocks = pool_shape().classes()[i].blocks;
    ASSERT_EQ(keeper.census(i).free, blocks);
    Slab slab(pool_shape(), memory.bytes(), keeper.issue_holder().value(), i);
    for (std::uint32_t block = 0; block < blocks; ++block) {
      ASSERT_TRUE(slab.try_allocate(i));
    }
    ASSERT_FALSE(slab.try_allocate(i));
    keeper.retire(slab.self(), now);
  }
}

TEST(PoolKill, leaks_nothing_and_gives_nothing_to_two) {
  PoolMemory memory = PoolMemory::create(pool_shape(), kSerial).value();
  PoolKeeper keeper(pool_shape(), memory.bytes(), kSerial);
  std::mt19937 random{4};
  Instant now = pool::test::kBegin;
  unsigned seed = 0;
  std::array<std::unique_ptr<Flow>, 2> flows;
  for (int kills = 0; kills < kills_wanted(); ++kills) {
    for (auto& flow : flows) {
      flow = flow ? std::move(flow) : std::make_unique<Flow>(memory, keeper, ++seed);
    }
    auto& flow = flows[static_cast<std::size_t>(kills % 2)];
    const std::size_t side = random() % 2;
    flow->wait_for_operations(side, random() % 400);
    flow->kill(side, now);
    ASSERT_FALSE(HasFatalFailure()) << "kill " << kills;
    flow.reset();
    if (kills % 50 == 49) {
      auto& other = flows[static_cast<std::size_t>(1 - kills % 2)];
      other->kill(side, now);
      other.reset();
      check_quiet(memory, keeper, now);
      ASSERT_FALSE(HasFatalFailure()) << "after kill " << kills;
      now += PoolKeeper::kQuarantine;
      keeper.sweep(now);
    }
  }
}

}  // namespace
}  // namespace flowfs::crash
