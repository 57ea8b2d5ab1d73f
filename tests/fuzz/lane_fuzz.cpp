// SPDX-License-Identifier: BSD-3-Clause
// Both ends of a lane against a peer that writes what the input says, before and between the reads:
// nothing is touched outside the segments, and a lie is final. And an honest lane against a queue.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

#include "memory.hpp"
#include "pool/lane.hpp"
#include "pool/shared.hpp"

namespace {

using flowfs::fuzz::Memory;
using flowfs::fuzz::require;
using flowfs::pool::CursorPublisher;
using flowfs::pool::Geometry;
using flowfs::pool::LaneReader;
using flowfs::pool::LaneWalk;
using flowfs::pool::LaneWriter;
using flowfs::pool::Position;

constexpr flowfs::pool::Generation kGeneration{1};

class Trial {
 public:
  Trial(FuzzedDataProvider& input, const Geometry& geometry, const Position& start)
      : input_(&input),
        geometry_(geometry),
        hostile_(geometry.segment_bytes()),
        own_(geometry.segment_bytes()),
        reader_(geometry, hostile_.bytes(), start),
        writer_(geometry, own_.bytes(), hostile_.bytes(), kGeneration,
                {.hot = start.hot & ~15ULL, .bulk = start.bulk & ~63ULL, .sequence = 0}) {}

  void step() {
    switch (input_->ConsumeIntegralInRange(0, 9)) {
      case 0:
        hostile_.scribble(*input_);
        break;
      case 1:
        set_word();
        break;
      case 2:
        plausible_record();
        break;
      case 3:
        plausible_cursors();
        break;
      case 4:
        walk();
        break;
      case 5:
        reader_.set_end(input_->ConsumeIntegral<std::uint64_t>());
        break;
      case 6:
      case 7:
        write();
        break;
      default:
        read();
    }
  }

 private:
  void set_word() {
    const auto at =
        input_->ConsumeIntegralInRange<std::size_t>(0, hostile_.bytes().size() / 16 - 1) * 16;
    const auto word = input_->ConsumeIntegral<std::uint32_t>();
    std::memcpy(hostile_.bytes().data() + at, &word, sizeof word);
  }
  // Nearly right, where the reader looks next: what random bytes do not hit.
  void plausible_record() {
    const std::uint64_t offset = reader_.position().hot % geometry_.hot_bytes;
    if (offset % 16 != 0) {
      return;
    }
    auto* place = hostile_.bytes().data() + geometry_.hot_offset() + offset;
    if (input_->ConsumeIntegralInRange(0, 7) == 0) {
      plausible_block(place, geometry_.hot_bytes - offset);
      return;
    }
    const bool bulk = input_->ConsumeBool();
    const bool padding = input_->ConsumeIntegralInRange(0, 9) == 0;
    const auto error = input_->ConsumeIntegralInRange<std::uint32_t>(0, 3);
    flowfs_record record{};
    record.commit =
        bulk ? sizeof(flowfs_bulk) + 1
             : input_->ConsumeIntegralInRange<std::uint32_t>(1, geometry_.inline_bytes + 1);
    if (padding) {
      record.commit =
          FLOWFS_COMMIT_PADDING | static_cast<std::uint32_t>(geometry_.hot_bytes - offset - 15);
    }
    record.commit += error == 1 ? input_->ConsumeIntegral<std::uint32_t>() : 0;
    record.flags = static_cast<std::uint16_t>(bulk && !padding ? FLOWFS_RECORD_BULK : 0);
    record.flags |= error == 2 ? input_->ConsumeIntegral<std::uint16_t>() : std::uint16_t{0};
    record.sequence =
        reader_.position().sequence + (error == 3 ? input_->ConsumeIntegral<std::uint8_t>() : 0);
    std::memcpy(place, &record, sizeof record);
    if (bulk && geometry_.hot_bytes - offset >= sizeof record + sizeof(flowfs_bulk)) {
      flowfs_bulk descriptor{};
      descriptor.position =
          reader_.position().bulk +
          input_->ConsumeIntegralInRange<std::uint64_t>(0, geometry_.bulk_bytes / 64 + 1) * 64;
      descriptor.length = input_->ConsumeIntegralInRange<std::uint32_t>(geometry_.inline_bytes,
                                                                        geometry_.mtu_bytes + 1);
      std::memcpy(place + sizeof record, &descriptor, sizeof descriptor);
    }
  }
  void plausible_block(std::byte* place, std::uint64_t room) {
    flowfs_record record{};
    record.commit =
        sizeof(flowfs_block) + input_->ConsumeIntegralInRange<std::uint32_t>(0, 9) / 9 + 1;
    record.flags = FLOWFS_RECORD_BLOCK;
    record.sequence = reader_.position().sequence;
    flowfs_block block{};
    block.length = input_->ConsumeIntegralInRange<std::uint32_t>(0, geometry_.mtu_bytes + 1);
    block.block = input_->ConsumeIntegral<std::uint32_t>();
    std::memcpy(place, &record, sizeof record);
    if (room >= sizeof record + sizeof block) {
      std::memcpy(place + sizeof record, &block, sizeof block);
    }
  }
  void plausible_cursors() {
    flowfs_cursors& cursors = flowfs::pool::segment_header(hostile_.bytes()).cursors;
    cursors.generation = input_->ConsumeIntegralInRange<std::uint64_t>(0, 2);
    cursors.hot = writer_.reader_hot() + input_->ConsumeIntegralInRange<std::uint64_t>(0, 300) * 8;
    cursors.bulk =
        writer_.reader_bulk() + input_->ConsumeIntegralInRange<std::uint64_t>(0, 300) * 32;
  }

  void check(const LaneReader::Record& record) {
    const auto whole = hostile_.bytes();
    if (record.block) {
      require(record.payload.empty() && record.block->length != 0 &&
              record.block->length <= geometry_.mtu_bytes);
      return;
    }
    require(!record.payload.empty() && record.payload.size() <= geometry_.mtu_bytes);
    require(record.payload.data() >= whole.data() + geometry_.hot_offset() &&
            record.payload.data() + record.payload.size() <= whole.data() + whole.size());
    copy_.assign(record.payload.begin(), record.payload.end());
  }
  void read() {
    LaneReader::Record record;
    const auto outcome = reader_.peek(record);
    if (outcome == LaneReader::Outcome::record) {
      check(record);
      reader_.pop();
    } else if (outcome == LaneReader::Outcome::corrupt) {
      require(reader_.peek(record) == LaneReader::Outcome::corrupt);
    }
  }
  void walk() {
    LaneReader copy = reader_;
    LaneWalk walk(copy);
    LaneReader::Record record;
    std::size_t total = 0;
    while (walk.next(record) == LaneReader::Outcome::record) {
      check(record);
      total += record.payload.size();
    }
    require(total <= geometry_.hot_bytes + geometry_.bulk_bytes);
  }
  LaneWriter::Outcome put(const std::vector<std::byte>& message) {
    switch (input_->ConsumeIntegralInRange(0, 3)) {
      case 0:
        return writer_.stage(message);
      case 1:
        return writer_.stage_block(
            {.pool = 1, .block = 2, .generation = 3, .offset = 0, .length = 4});
      case 2: {
        std::span<std::byte> place;
        const auto outcome = writer_.loan(message.size(), place);
        if (outcome == LaneWriter::Outcome::ok) {
          const auto own = own_.bytes();
          require(place.data() >= own.data() + geometry_.hot_offset() &&
                  place.data() + place.size() <= own.data() + own.size());
          std::memset(place.data(), 0xff, place.size());
          writer_.stage_loan(input_->ConsumeIntegralInRange<std::size_t>(1, place.size()));
        }
        return outcome;
      }
      default:
        return writer_.write(message);
    }
  }
  void write() {
    const auto length = input_->ConsumeIntegralInRange<std::size_t>(1, geometry_.mtu_bytes);
    const std::vector<std::byte> message(length);
    const Position before = writer_.position();
    const auto outcome = put(message);
    if (input_->ConsumeBool()) {
      writer_.publish();
    }
    if (outcome == LaneWriter::Outcome::corrupt) {
      require(writer_.write(message) == LaneWriter::Outcome::corrupt);
    }
    require(writer_.position().hot >= before.hot);
    require(writer_.position().hot - writer_.reader_hot() <= geometry_.hot_bytes);
  }

  FuzzedDataProvider* input_;
  Geometry geometry_;
  Memory hostile_;
  Memory own_;
  LaneReader reader_;
  LaneWriter writer_;
  std::vector<std::byte> copy_;
};

// What is published is read, whole and in order, and there is nothing else.
class Honest {
 public:
  Honest(FuzzedDataProvider& input, const Geometry& geometry)
      : input_(&input),
        geometry_(geometry),
        from_(geometry.segment_bytes()),
        to_(geometry.segment_bytes()) {}

  void step() {
    switch (input_->ConsumeIntegralInRange(0, 7)) {
      case 0:
      case 1:
        send();
        break;
      case 2:
        lend();
        break;
      case 3:
        writer_.publish();
        std::ranges::move(staged_, std::back_inserter(published_));
        staged_.clear();
        break;
      case 4:
        if (input_->ConsumeIntegralInRange(0, 7) == 0) {
          writer_.abandon();
          staged_.clear();
        }
        break;
      case 5:
        cursors_.publish(reader_.position());
        break;
      default:
        receive();
    }
  }
  // Drained, it takes a message of any length.
  void finish() {
    writer_.publish();
    std::ranges::move(staged_, std::back_inserter(published_));
    while (!published_.empty()) {
      receive();
    }
    receive();
    cursors_.publish(reader_.position());
    require(writer_.room_for_any() == LaneWriter::Outcome::ok);
  }

 private:
  std::vector<std::byte> message() {
    const bool is_long = input_->ConsumeIntegralInRange(0, 3) == 0;
    const auto length = input_->ConsumeIntegralInRange<std::size_t>(
        1, is_long ? geometry_.mtu_bytes : geometry_.inline_bytes);
    return std::vector<std::byte>(length, std::byte{input_->ConsumeIntegral<std::uint8_t>()});
  }
  void send() {
    std::vector<std::byte> sent = message();
    const auto room = writer_.room_for(sent.size());
    const auto outcome = writer_.stage(sent);
    require(outcome == room && outcome != LaneWriter::Outcome::corrupt);
    if (outcome == LaneWriter::Outcome::ok) {
      staged_.push_back(std::move(sent));
    }
  }
  void lend() {
    std::vector<std::byte> sent = message();
    const auto lent = input_->ConsumeIntegralInRange<std::size_t>(sent.size(), geometry_.mtu_bytes);
    std::span<std::byte> place;
    const auto outcome = writer_.loan(lent, place);
    require(outcome != LaneWriter::Outcome::corrupt);
    if (outcome != LaneWriter::Outcome::ok) {
      return;
    }
    std::ranges::fill(place, std::byte{0xff});
    if (input_->ConsumeIntegralInRange(0, 3) == 0) {
      writer_.cancel_loan();
      return;
    }
    std::ranges::copy(sent, place.begin());
    writer_.stage_loan(sent.size());
    staged_.push_back(std::move(sent));
  }
  void receive() {
    LaneReader::Record record;
    const auto found = reader_.peek(record);
    require(found ==
            (published_.empty() ? LaneReader::Outcome::empty : LaneReader::Outcome::record));
    if (found == LaneReader::Outcome::record) {
      require(std::ranges::equal(record.payload, published_.front()));
      published_.pop_front();
      reader_.pop();
    }
  }

  FuzzedDataProvider* input_;
  Geometry geometry_;
  Memory from_;
  Memory to_;
  LaneWriter writer_{geometry_, from_.bytes(), to_.bytes(), kGeneration, {}};
  LaneReader reader_{geometry_, from_.bytes(), {}};
  CursorPublisher cursors_{
      geometry_, flowfs::pool::segment_header(to_.bytes()).cursors, kGeneration, {}};
  std::deque<std::vector<std::byte>> staged_;
  std::deque<std::vector<std::byte>> published_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  const std::size_t mtu = input.PickValueInArray({1U, 300U, 496U, 497U, 3'000U, 9'000U});
  const auto geometry = Geometry::plan(mtu, 0, 4'096);
  require(geometry.has_value());
  const bool anywhere = input.ConsumeBool();
  const Position start{.hot = anywhere ? input.ConsumeIntegral<std::uint64_t>() >> 1U : 0,
                       .bulk = anywhere ? input.ConsumeIntegral<std::uint64_t>() >> 1U : 0,
                       .sequence = input.ConsumeBool() ? 0 : FLOWFS_SEQUENCE_ANY};
  if (input.ConsumeIntegralInRange(0, 2) == 0) {
    Honest honest(input, *geometry);
    for (int i = 0; i < 2'000 && input.remaining_bytes() > 0; ++i) {
      honest.step();
    }
    honest.finish();
    return 0;
  }
  Trial trial(input, *geometry, start);
  for (int i = 0; i < 2'000 && input.remaining_bytes() > 0; ++i) {
    trial.step();
  }
  return 0;
}
