// SPDX-License-Identifier: BSD-3-Clause
// Members and keeper of a pool under whatever sequence of operations the input says. On honest
// memory they agree with a model, block by block. On memory that the input scribbles over they do
// what they like with blocks, but touch nothing outside the pool, and once the scribbling ends and
// all members are gone every block is free.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "pool/block_cache.hpp"
#include "pool/pool_keeper.hpp"

namespace {

using flowfs::Instant;
using flowfs::pool::BlockCache;
using flowfs::pool::BlockRef;
using flowfs::pool::Holder;
using flowfs::pool::LaneNumber;
using flowfs::pool::OwnerWord;
using flowfs::pool::OwnerWords;
using flowfs::pool::PoolClass;
using flowfs::pool::PoolGeometry;
using flowfs::pool::PoolKeeper;
using flowfs::pool::Slab;

constexpr std::uint64_t kSerial = 3;
constexpr std::size_t kMembers = 3;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

// On the heap, so that AddressSanitizer knows where it ends.
class Memory {
 public:
  explicit Memory(const PoolGeometry& geometry)
      : data_(static_cast<std::byte*>(std::aligned_alloc(4'096, geometry.pool_bytes())),
              &std::free),
        size_(geometry.pool_bytes()) {
    std::memset(data_.get(), 0, size_);
    std::memset(data_.get() + geometry.hints_offset(), 1, geometry.blocks());
  }
  [[nodiscard]] std::span<std::byte> bytes() const { return {data_.get(), size_}; }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> data_;
  std::size_t size_;
};

class Trial {
 public:
  Trial(FuzzedDataProvider& input, const PoolGeometry& geometry, bool hostile)
      : input_(&input),
        geometry_(geometry),
        hostile_(hostile),
        memory_(geometry),
        words_(geometry, memory_.bytes()),
        keeper_(geometry, memory_.bytes(), kSerial),
        model_(geometry.blocks()) {
    for (Member& member : members_) {
      join(member);
    }
  }

  void step() {
    Member& member = members_[input_->ConsumeIntegralInRange<std::size_t>(0, kMembers - 1)];
    switch (input_->ConsumeIntegralInRange(0, 9)) {
      case 0:
      case 1:
        allocate(member);
        break;
      case 2:
        free(member);
        break;
      case 3:
        hand_over(member);
        break;
      case 4:
        take(member);
        break;
      case 5:
        take_back(member);
        break;
      case 6:
        copy_out();
        break;
      case 7:
        die(member);
        break;
      case 8:
        if (hostile_) {
          scribble();
        } else {
          lie_in_hints();
        }
        break;
      default:
        agree();
    }
  }
  // Whatever happened: with everybody gone, everything is free.
  void end() {
    for (Member& member : members_) {
      leave(member);
    }
    now_ += PoolKeeper::kQuarantine;
    keeper_.sweep(now_);
    require(keeper_.numbers() == 0 && keeper_.due() == flowfs::kNever);
    for (unsigned i = 0; i < geometry_.classes().size(); ++i) {
      require(keeper_.census(i).free == geometry_.classes()[i].blocks);
    }
  }

 private:
  struct Member {
    std::unique_ptr<Slab> slab;
    LaneNumber lane{};
  };
  void join(Member& member) {
    member.slab = std::make_unique<Slab>(geometry_, memory_.bytes(), keeper_.issue_holder().value(),
                                         input_->ConsumeIntegral<std::uint8_t>());
    member.lane = keeper_.issue_lane().value();
  }
  void leave(const Member& member) {
    keeper_.retire(member.slab->self(), now_);
    keeper_.end_lane(member.lane, {}, now_);
  }

  // A block that the member holds by the model, or any.
  BlockRef some_ref() {
    const auto block = input_->ConsumeIntegralInRange<std::uint32_t>(0, geometry_.blocks());
    const bool right = block < geometry_.blocks() && input_->ConsumeIntegralInRange(0, 7) > 0;
    const std::uint32_t generation =
        right ? words_.guess(block).generation() : input_->ConsumeIntegral<std::uint32_t>();
    return {.block = input_->ConsumeIntegralInRange(0, 31) == 0
                         ? input_->ConsumeIntegral<std::uint32_t>()
                         : block,
            .generation = generation};
  }
  [[nodiscard]] bool is(BlockRef ref, OwnerWord word) const {
    return ref.block < model_.size() && model_[ref.block] == word;
  }
  // The operation did as the model says, which follows.
  void expect(bool done, BlockRef ref, OwnerWord before, OwnerWord after) {
    if (hostile_) {
      return;
    }
    require(done == is(ref, before));
    if (done) {
      model_[ref.block] = after;
    }
  }
  // Every byte may be written by whoever owns the block.
  void use(const Member& member, BlockRef ref) {
    const auto bytes = member.slab->bytes(ref);
    require(bytes.size() == geometry_.classes()[*geometry_.class_of(ref.block)].block_bytes);
    std::ranges::fill(bytes, std::byte{0xaa});
  }

  void allocate(const Member& member) {
    const auto class_index = input_->ConsumeIntegralInRange<unsigned>(
        0, static_cast<unsigned>(geometry_.classes().size() - 1));
    const auto ref = input_->ConsumeBool() ? member.slab->try_allocate(class_index)
                                           : member.slab->allocate(class_index, Instant{});
    if (ref) {
      require(geometry_.class_of(ref->block) == class_index);
      use(member, *ref);
      if (!hostile_) {
        require(model_[ref->block].is_free() && model_[ref->block].generation() == ref->generation);
        model_[ref->block] = OwnerWord::held_by(member.slab->self(), ref->generation);
      }
    } else if (!hostile_) {
      const PoolClass& its = geometry_.classes()[class_index];
      require(std::none_of(model_.begin() + its.first_block,
                           model_.begin() + its.first_block + its.blocks,
                           [](OwnerWord word) { return word.is_free(); }));
    }
  }
  void free(const Member& member) {
    const BlockRef ref = some_ref();
    bool freed = false;
    if (input_->ConsumeBool()) {
      freed = member.slab->free(ref);
    } else {
      BlockCache cache(*member.slab);
      freed = cache.free(ref);
      require(!freed || !cache.free(ref));
    }
    if (freed && !hostile_) {
      require(is(ref, OwnerWord::held_by(member.slab->self(), ref.generation)));
      model_[ref.block] = words_.look(ref.block);
      require(model_[ref.block].is_free() && model_[ref.block].generation() == ref.generation + 1);
    } else if (!hostile_) {
      require(!is(ref, OwnerWord::held_by(member.slab->self(), ref.generation)));
    }
  }
  void hand_over(const Member& member) {
    const BlockRef ref = some_ref();
    const auto sent = member.slab->hand_over(ref, member.lane);
    require(!sent || (sent->block == ref.block && sent->generation == ref.generation + 1));
    expect(sent.has_value(), ref, OwnerWord::held_by(member.slab->self(), ref.generation),
           OwnerWord::in_flight_on(member.lane, ref.generation + 1));
  }
  void take(const Member& member) {
    const BlockRef ref = some_ref();
    const bool flying = !hostile_ && ref.block < model_.size() &&
                        model_[ref.block].state() == FLOWFS_BLOCK_IN_FLIGHT;
    const OwnerWord before =
        flying ? OwnerWord::make(FLOWFS_BLOCK_IN_FLIGHT, model_[ref.block].number(), ref.generation)
               : OwnerWord::in_flight_on(member.lane, ref.generation);
    const bool taken = member.slab->take(ref);
    expect(taken, ref, before, OwnerWord::held_by(member.slab->self(), ref.generation));
    if (taken) {
      use(member, ref);
    }
  }
  void take_back(const Member& member) {
    const BlockRef ref = some_ref();
    const bool taken = member.slab->take_back(ref, member.lane);
    expect(taken, ref, OwnerWord::in_flight_on(member.lane, ref.generation),
           OwnerWord::held_by(member.slab->self(), ref.generation));
    if (taken) {
      use(member, ref);
    }
  }
  void copy_out() {
    const BlockRef ref = some_ref();
    const flowfs_block descriptor{
        .pool = kSerial + input_->ConsumeIntegralInRange<std::uint64_t>(0, 15) / 15,
        .block = ref.block,
        .generation = ref.generation,
        .offset = input_->ConsumeIntegralInRange<std::uint32_t>(0, 300),
        .length = input_->ConsumeIntegralInRange<std::uint32_t>(0, 300)};
    std::vector<std::byte> copy(descriptor.length);
    const auto taken = keeper_.take_for_file_end(descriptor, copy);
    require((taken == PoolKeeper::Taken::corrupt) ==
            (descriptor.pool != kSerial || !geometry_.contains(descriptor)));
    if (taken == PoolKeeper::Taken::ok && !hostile_) {
      require(model_[ref.block].state() == FLOWFS_BLOCK_IN_FLIGHT &&
              model_[ref.block].generation() == ref.generation);
      model_[ref.block] = OwnerWord::free_in(0, ref.generation + 1);
    }
  }
  // The member leaves, perhaps with records of its own still unread, and another joins.
  void die(Member& member) {
    std::vector<BlockRef> keep;
    for (std::uint32_t block = 0; block < geometry_.blocks(); ++block) {
      const OwnerWord word = words_.look(block);
      if (word == OwnerWord::in_flight_on(member.lane, word.generation()) &&
          input_->ConsumeBool()) {
        keep.push_back({.block = block, .generation = word.generation()});
      }
    }
    keeper_.retire(member.slab->self(), now_);
    keeper_.end_lane(member.lane, keep, now_);
    keeper_.sweep(now_);
    agree();
    now_ += PoolKeeper::kQuarantine;
    const std::uint32_t freed = keeper_.sweep(now_);
    require(hostile_ || freed == forget(member, keep));
    keeper_.sweep(now_);
    keeper_.end_lane(member.lane, {}, now_);
    now_ += PoolKeeper::kQuarantine;
    require(keeper_.sweep(now_) == forget(member, {}) || hostile_);
    join(member);
  }
  // How many blocks the model loses by the member's death.
  std::uint32_t forget(const Member& member, const std::vector<BlockRef>& keep) {
    std::uint32_t count = 0;
    for (std::uint32_t block = 0; block < model_.size(); ++block) {
      const OwnerWord word = model_[block];
      const std::uint32_t generation = word.generation();
      const BlockRef ref{.block = block, .generation = generation};
      if (word == OwnerWord::held_by(member.slab->self(), generation) ||
          (word == OwnerWord::in_flight_on(member.lane, generation) &&
           std::ranges::find(keep, ref) == keep.end())) {
        model_[block] = OwnerWord::free_in(0, generation + 1);
        ++count;
      }
    }
    return count;
  }

  void agree() {
    for (std::uint32_t block = 0; block < model_.size() && !hostile_; ++block) {
      require(words_.look(block) == model_[block]);
    }
  }
  void lie_in_hints() {
    const auto at = input_->ConsumeIntegralInRange<std::size_t>(0, geometry_.blocks() - 1);
    memory_.bytes()[geometry_.hints_offset() + at] =
        static_cast<std::byte>(input_->ConsumeIntegral<std::uint8_t>());
  }
  // Over header, words and hints; the blocks are poisoned, and nobody believes them.
  void scribble() {
    if (input_->ConsumeBool()) {
      const auto block = input_->ConsumeIntegralInRange<std::uint32_t>(0, geometry_.blocks() - 1);
      OwnerWord was = words_.look(block);
      require(words_.change(block, was,
                            OwnerWord::make(input_->ConsumeIntegralInRange<std::uint8_t>(0, 3),
                                            input_->ConsumeIntegralInRange<std::uint32_t>(0, 15),
                                            input_->ConsumeIntegral<std::uint32_t>())));
      return;
    }
    const auto data =
        input_->ConsumeBytes<std::uint8_t>(input_->ConsumeIntegralInRange<std::size_t>(1, 64));
    const auto at = input_->ConsumeIntegralInRange<std::size_t>(
        0, geometry_.table_bytes() - std::max<std::size_t>(data.size(), 1));
    std::ranges::copy(std::as_bytes(std::span(data)), memory_.bytes().data() + at);
  }

  FuzzedDataProvider* input_;
  PoolGeometry geometry_;
  bool hostile_;
  Memory memory_;
  OwnerWords words_;
  PoolKeeper keeper_;
  std::array<Member, kMembers> members_;
  std::vector<OwnerWord> model_;  // what the words are, where nobody lies
  Instant now_{};
};

// What a daemon that lies might answer: refused, or safe to walk.
void try_attach(FuzzedDataProvider& input) {
  flowfs_pool_attach attach{};
  const auto data = input.ConsumeBytes<std::uint8_t>(sizeof attach);
  std::ranges::copy(data, reinterpret_cast<std::uint8_t*>(&attach));
  attach.version = FLOWFS_LAYOUT_VERSION;
  const auto geometry = PoolGeometry::from(attach);
  if (geometry) {
    const PoolClass& last = geometry->classes().back();
    require(last.first_block + last.blocks == geometry->blocks());
    require(geometry->offset_of(geometry->blocks() - 1,
                                static_cast<unsigned>(geometry->classes().size() - 1)) +
                last.block_bytes <=
            geometry->pool_bytes());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  const auto what = input.ConsumeIntegralInRange(0, 15);
  if (what == 0) {
    try_attach(input);
    return 0;
  }
  const std::array<PoolGeometry::Size, 3> sizes{{{64, 3}, {128, 21}, {256, 6}}};
  const auto geometry = PoolGeometry::plan(
      std::span(sizes).first(input.ConsumeIntegralInRange<std::size_t>(1, sizes.size())),
      input.ConsumeIntegralInRange(1U, 5U));
  require(geometry.has_value());
  Trial trial(input, *geometry, what % 2 == 0);
  for (int i = 0; i < 1'000 && input.remaining_bytes() > 0; ++i) {
    trial.step();
  }
  trial.end();
  return 0;
}
