// SPDX-License-Identifier: BSD-3-Clause
// Death of a pool's member between any two of its instructions.
//
// What a killed process leaves is shared memory as it is at that instant. So a member is run
// instruction by instruction, and whenever the memory differs from what it was an instruction
// before, the daemon and the peer go to work on a copy of it as if the member had died there: what
// was published is delivered, every block comes back, and none has two owners.
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <set>
#include <vector>

#include "../unit/pool/lane_fixture.hpp"
#include "../unit/pool/pool_fixture.hpp"
#include "pool/block_cache.hpp"

namespace flowfs::crash {
namespace {

using pool::BlockCache;
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
using pool::test::kBegin;
using pool::test::kSerial;

constexpr Generation kGeneration{1};
constexpr Position kStart{.hot = 0, .bulk = 0, .sequence = 0};
constexpr std::uint32_t kBlocks = 64;

PoolGeometry pool_shape() { return pool::test::pool_geometry({{64, kBlocks}}, 2); }
Geometry lane_shape() { return pool::test::geometry(64); }

// All that the two members and the daemon share, in files that a child maps for itself.
struct World {
  PoolMemory pool = PoolMemory::create(pool_shape(), kSerial).value();
  Segment mortal = Segment::create(lane_shape(), 1, kGeneration).value();
  Segment survivor = Segment::create(lane_shape(), 2, kGeneration).value();

  [[nodiscard]] std::array<std::span<std::byte>, 3> parts() const {
    pool::unpoison(pool.bytes());  // what is free is looked at too
    return {pool.bytes(), mortal.bytes(), survivor.bytes()};
  }
  [[nodiscard]] bool same_as(const World& other) const {
    return std::ranges::equal(parts(), other.parts(), [](auto one, auto two) {
      return std::memcmp(one.data(), two.data(), one.size()) == 0;
    });
  }
  void copy_from(const World& other) const {
    const auto from = other.parts();
    const auto to = parts();
    for (std::size_t i = 0; i < to.size(); ++i) {
      std::memcpy(to[i].data(), from[i].data(), to[i].size());
    }
  }
};

// The daemon's numbers, the same in every world.
struct Daemon {
  explicit Daemon(const World& world)
      : keeper(pool_shape(), world.pool.bytes(), kSerial),
        mortal(keeper.issue_holder().value()),
        survivor(keeper.issue_holder().value()),
        mortal_lane(keeper.issue_lane().value()),
        survivor_lane(keeper.issue_lane().value()) {}
  PoolKeeper keeper;
  Holder mortal;
  Holder survivor;
  LaneNumber mortal_lane;
  LaneNumber survivor_lane;
};

// One member's view: its slab, and a lane in each direction.
struct Member {
  Member(std::span<std::byte> pool, Holder self, LaneNumber own_lane, std::span<std::byte> own,
         std::span<const std::byte> peer)
      : slab(pool_shape(), pool, self, 1),
        lane(own_lane),
        writer(lane_shape(), own, peer, kGeneration, kStart),
        reader(lane_shape(), peer, kStart),
        cursors(lane_shape(), pool::segment_header(own).cursors, kGeneration, kStart) {}

  BlockRef allocate() {
    const auto ref = slab.try_allocate(0);
    FLOWFS_CHECK(ref.has_value());
    return *ref;
  }
  BlockRef send(BlockRef ref) {
    const auto flying = slab.hand_over(ref, lane);
    FLOWFS_CHECK(flying &&
                 writer.stage_block(pool::test::descriptor(*flying, 8)) == LaneWriter::Outcome::ok);
    writer.publish();
    return *flying;
  }
  // What the next record names, taken; nothing: no record, or its block is gone.
  std::optional<BlockRef> receive() {
    LaneReader::Record record;
    if (reader.peek(record) != LaneReader::Outcome::record || !record.block) {
      return std::nullopt;
    }
    const BlockRef ref{.block = record.block->block, .generation = record.block->generation};
    const bool taken = slab.take(ref);
    reader.pop();
    cursors.publish(reader.position());
    return taken ? std::optional(ref) : std::nullopt;
  }

  void free_all() {
    for (const BlockRef ref : held) {
      FLOWFS_CHECK(slab.free(ref));
    }
  }

  Slab slab;
  std::vector<BlockRef> held;  // from prepare() to run()
  LaneNumber lane;
  LaneWriter writer;
  LaneReader reader;
  CursorPublisher cursors;
};

// What a member does: made ready untraced, then step by step.
struct Script {
  std::function<void(Member&)> prepare = [](Member& /*member*/) {};
  std::function<void(Member&)> run;
  bool takes_back = false;  // then a published block may be gone
};

// Does not return.
void play(const World& world, const Script& script) {
  // The parent's mappings are not inherited.
  const auto map = [](const Fd& fd, std::size_t bytes) {
    return new Mapping(Mapping::map(fd, bytes, Mapping::Access::read_write).value());
  };
  auto* pool = map(world.pool.fd(), pool_shape().pool_bytes());
  auto* own = map(world.mortal.fd(), lane_shape().segment_bytes());
  auto* peer = map(world.survivor.fd(), lane_shape().segment_bytes());
  // Numbers as Daemon issues them.
  Member member(pool->bytes(), Holder{PoolKeeper::kFirst}, LaneNumber{PoolKeeper::kFirst + 2},
                own->bytes(), peer->bytes());
  script.prepare(member);
  ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  ::raise(SIGSTOP);
  script.run(member);
  ::raise(SIGSTOP);
  ::_exit(0);
}

// The survivor and the daemon after a death at this instant.
void check_death(const World& now, const World& scratch, bool takes_back) {
  scratch.copy_from(now);
  Daemon daemon(scratch);
  Member survivor(scratch.pool.bytes(), daemon.survivor, daemon.survivor_lane,
                  scratch.survivor.bytes(), scratch.mortal.bytes());
  // It reads on from where its cursors say, as after any attach.
  const flowfs_cursors& read = pool::segment_header(now.survivor.bytes()).cursors;
  LaneReader unread(lane_shape(), scratch.mortal.bytes(),
                    {.hot = read.hot, .bulk = read.bulk, .sequence = FLOWFS_SEQUENCE_ANY});
  std::vector<BlockRef> keep;
  LaneReader::Record record;
  for (; unread.peek(record) == LaneReader::Outcome::record; unread.pop()) {
    ASSERT_TRUE(record.block);
    keep.push_back({.block = record.block->block, .generation = record.block->generation});
  }
  daemon.keeper.retire(daemon.mortal, kBegin);
  daemon.keeper.end_lane(daemon.mortal_lane, keep, kBegin);
  daemon.keeper.end_lane(daemon.survivor_lane, {}, kBegin);
  daemon.keeper.sweep(daemon.keeper.due());
  for (const BlockRef ref : keep) {
    const bool taken = survivor.slab.take(ref);
    ASSERT_TRUE(taken || takes_back) << "a published block was not delivered";
    ASSERT_FALSE(survivor.slab.take(ref));
    ASSERT_TRUE(!taken || survivor.slab.free(ref));
  }
  daemon.keeper.end_lane(daemon.mortal_lane, {}, kBegin);
  daemon.keeper.sweep(kBegin + 2 * PoolKeeper::kQuarantine);
  ASSERT_EQ(daemon.keeper.census(0).free, kBlocks);
  std::set<std::uint32_t> blocks;
  while (const auto ref = survivor.slab.try_allocate(0)) {
    ASSERT_TRUE(blocks.insert(ref->block).second);
  }
  ASSERT_EQ(blocks.size(), kBlocks);
}

struct Steps {
  int instructions = 0;
  int states = 0;  // of shared memory, each a different death
};

// A member that does as the script says, one instruction at a time.
class Stepped {
 public:
  Stepped(const World& world, const Script& script) : child_(::fork()) {
    if (child_ == 0) {
      play(world, script);
    }
    wait();
    FLOWFS_CHECK(WIFSTOPPED(status_));  // else the script failed before it began
    ::ptrace(PTRACE_SETOPTIONS, child_, nullptr, PTRACE_O_EXITKILL);
  }
  ~Stepped() {
    ::kill(child_, SIGKILL);
    wait();
  }
  Stepped(const Stepped&) = delete;
  Stepped& operator=(const Stepped&) = delete;

  // One instruction more; false: there is none.
  bool step() { return go_on(PTRACE_SINGLESTEP) && WSTOPSIG(status_) == SIGTRAP; }
  // All the others.
  void run() { go_on(PTRACE_CONT); }
  // Whether it has come to the end of the script.
  [[nodiscard]] bool finished() const {
    return WIFSTOPPED(status_) && WSTOPSIG(status_) == SIGSTOP;
  }

 private:
  void wait() { FLOWFS_CHECK(::waitpid(child_, &status_, 0) == child_); }
  bool go_on(__ptrace_request how) {
    FLOWFS_CHECK(::ptrace(how, child_, nullptr, nullptr) == 0);
    wait();
    return WIFSTOPPED(status_);
  }

  pid_t child_;
  int status_ = 0;
};

// Runs the script one instruction at a time. `survivor` has done its part before.
void run_steps(const World& world, const Script& script, Steps& steps) {
  const World before;
  const World scratch;
  before.copy_from(world);
  Stepped member(world, script);
  do {
    if (!world.same_as(before)) {
      before.copy_from(world);
      ++steps.states;
      check_death(world, scratch, script.takes_back);
    }
    ++steps.instructions;
  } while (member.step() && !testing::Test::HasFatalFailure());
  ASSERT_TRUE(member.finished()) << "the script failed";
}

bool may_trace() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 ? 0 : 1);
  }
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

class PoolDeath : public testing::Test {
 protected:
  void SetUp() override {
    if (!may_trace()) {
      GTEST_SKIP() << "ptrace is not allowed here";
    }
  }
  // At least so many different deaths.
  void try_every_instruction(const Script& script, int states) {
    Steps steps;
    run_steps(world_, script, steps);
    EXPECT_GE(steps.states, states);
    std::printf("  %d instructions, %d different deaths\n", steps.instructions, steps.states);
  }

  World world_;
  Daemon daemon_{world_};
  Member survivor_{world_.pool.bytes(), daemon_.survivor, daemon_.survivor_lane,
                   world_.survivor.bytes(), world_.mortal.bytes()};
};

TEST_F(PoolDeath, allocating) {
  // The word, the hint.
  try_every_instruction({.run = [](Member& member) { member.allocate(); }}, 2);
}

TEST_F(PoolDeath, freeing) {
  try_every_instruction({.prepare = [](Member& member) { member.held = {member.allocate()}; },
                         .run = [](Member& member) { member.free_all(); }},
                        2);
}

TEST_F(PoolDeath, freeing_for_somebody_who_waits) {
  static_cast<void>(pool::OwnerWords(pool_shape(), world_.pool.bytes()).announce_waiter(0));
  // The word, the hint, the waiters' bit, the bell.
  try_every_instruction({.prepare = [](Member& member) { member.held = {member.allocate()}; },
                         .run = [](Member& member) { member.free_all(); }},
                        4);
}

// A free finds the bit of somebody who does not sleep. Whenever another comes to wait meanwhile,
// the block being gone again, it is told of the next one: it does not sleep, or is rung for.
TEST_F(PoolDeath, of_nobody_and_no_waiter_that_comes_meanwhile_is_forgotten) {
  const Script freeing{.prepare = [](Member& member) { member.held = {member.allocate()}; },
                       .run = [](Member& member) { member.free_all(); }};
  int changes = 0;
  for (bool over = false; !over; ++changes) {
    const World world;
    const World before;
    const Daemon daemon(world);
    Member survivor(world.pool.bytes(), daemon.survivor, daemon.survivor_lane,
                    world.survivor.bytes(), world.mortal.bytes());
    pool::OwnerWords words(pool_shape(), world.pool.bytes());
    static_cast<void>(words.announce_waiter(0));
    Stepped member(world, freeing);
    before.copy_from(world);
    for (int left = changes; left > 0 && !over;) {
      over = !member.step();
      if (!world.same_as(before)) {
        before.copy_from(world);
        --left;
      }
    }
    std::vector<BlockRef> taken;
    while (const auto ref = survivor.slab.try_allocate(0)) {
      taken.push_back(*ref);
    }
    const std::uint32_t bell = words.announce_waiter(0);
    ASSERT_EQ(survivor.slab.try_allocate(0), std::nullopt);
    if (!over) {
      member.run();
    }
    ASSERT_TRUE(member.finished());
    ASSERT_TRUE(survivor.slab.free(taken.front()));
    ASSERT_NE(words.announce_waiter(0), bell) << "forgotten after change " << changes;
  }
  EXPECT_GE(changes, 4);
}

TEST_F(PoolDeath, freeing_through_a_cache) {
  const auto run = [](Member& member) {
    BlockCache cache(member.slab);
    for (const BlockRef ref : member.held) {
      FLOWFS_CHECK(cache.free(ref));
    }
  };
  try_every_instruction({.prepare =
                             [](Member& member) {
                               member.held = {member.allocate(), member.allocate(),
                                              member.allocate()};
                             },
                         .run = run},
                        6);
}

TEST_F(PoolDeath, sending) {
  // The word, the record, its commit word, twice.
  try_every_instruction(
      {.prepare = [](Member& member) { member.held = {member.allocate(), member.allocate()}; },
       .run =
           [](Member& member) {
             member.send(member.held[0]);
             member.send(member.held[1]);
           }},
      6);
}

TEST_F(PoolDeath, taking_back) {
  try_every_instruction({.prepare = [](Member& member) { member.held = {member.allocate()}; },
                         .run =
                             [](Member& member) {
                               member.held = {member.send(member.held[0])};
                               FLOWFS_CHECK(member.slab.take_back(member.held[0], member.lane));
                               member.free_all();
                             },
                         .takes_back = true},
                        6);
}

TEST_F(PoolDeath, receiving_and_sending_on) {
  survivor_.send(survivor_.allocate());
  survivor_.send(survivor_.allocate());
  // The word, the cursors, the word, the record, its commit word; the second stays in flight.
  try_every_instruction({.run =
                             [](Member& member) {
                               const auto ref = member.receive();
                               FLOWFS_CHECK(ref.has_value());
                               member.send(*ref);
                             }},
                        5);
}

}  // namespace
}  // namespace flowfs::crash
