// SPDX-License-Identifier: BSD-3-Clause
// The log of a bus: an honest writer and two readers against a queue of what was sent, and a reader
// of a log whose writer writes what the input says.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "memory.hpp"
#include "pool/bus_log.hpp"

namespace {

using flowfs::fuzz::Memory;
using flowfs::fuzz::require;
using flowfs::pool::log_cost;
using flowfs::pool::LogReader;
using flowfs::pool::LogWriter;

constexpr std::size_t kRing = 4'096;
constexpr std::size_t kBytes = FLOWFS_LOG_HEADER_BYTES + kRing;
constexpr std::size_t kLongest = 1'500;
constexpr std::uint32_t kOrigins = 3;

struct Sent {
  std::uint64_t begin = 0;  // behind the message before, padding included
  std::vector<std::byte> bytes;
  std::uint32_t origin = 0;
};

// Reads in order, what is not its own and was not overwritten, and nothing else.
class Reader {
 public:
  Reader(const Memory& memory, std::uint32_t own) : reader_(memory.bytes(), 0, 0, own), own_(own) {}

  void read(FuzzedDataProvider& input, const std::vector<Sent>& published, std::uint64_t floor) {
    const bool skips = input.ConsumeIntegralInRange(0, 9) == 0;
    if (skips) {
      reader_.skip_to_newest();
    }
    const std::uint64_t before = next_;
    LogReader::Record record;
    const auto found = reader_.peek(record);
    if (found == LogReader::Outcome::empty) {
      require(skips || !any_for_me(published, next_, floor));
      next_ = published.size();
      return;
    }
    require(found == LogReader::Outcome::record && record.sequence >= before);
    require(record.sequence < published.size());
    const Sent& sent = published[record.sequence];
    require(record.origin == sent.origin && sent.origin != own_);
    copy_.resize(record.payload.size());
    if (!reader_.copy(copy_)) {
      require(sent.begin < floor);  // since it was peeked at
      return;
    }
    require(copy_ == sent.bytes);
    if (input.ConsumeBool()) {
      reader_.pop();
      next_ = record.sequence + 1;
    }
    require(reader_.lost() <= published.size());
  }

 private:
  // Of what is still to be had.
  [[nodiscard]] bool any_for_me(const std::vector<Sent>& published, std::uint64_t from,
                                std::uint64_t floor) const {
    for (std::uint64_t i = from; i < published.size(); ++i) {
      if (published[i].origin != own_ && published[i].begin >= floor) {
        return true;
      }
    }
    return false;
  }

  LogReader reader_;
  std::uint32_t own_;
  std::uint64_t next_ = 0;
  std::vector<std::byte> copy_;
};

class Honest {
 public:
  explicit Honest(FuzzedDataProvider& input) : input_(&input) {}

  void step() {
    switch (input_->ConsumeIntegralInRange(0, 5)) {
      case 0:
      case 1:
        append();
        break;
      case 2:
        lend();
        break;
      case 3:
        writer_.publish();
        published_.insert(published_.end(), staged_.begin(), staged_.end());
        staged_.clear();
        break;
      default:
        readers_[input_->ConsumeBool() ? 1 : 0].read(*input_, published_, writer_.floor());
    }
  }

 private:
  std::size_t make_room() {
    const auto bytes = input_->ConsumeIntegralInRange<std::size_t>(1, kLongest);
    // What is staged and not shown is not given up for more.
    if (!writer_.has_room(bytes) && !staged_.empty()) {
      return 0;
    }
    require(writer_.can_hold(bytes));
    writer_.make_room(bytes);
    require(writer_.has_room(bytes));
    return bytes;
  }
  Sent message(std::size_t bytes) {
    const auto filler = std::byte{input_->ConsumeIntegral<std::uint8_t>()};
    return {.begin = writer_.position(),
            .bytes = std::vector<std::byte>(bytes, filler),
            .origin = input_->ConsumeIntegralInRange<std::uint32_t>(1, kOrigins)};
  }
  void append() {
    if (const std::size_t bytes = make_room(); bytes != 0) {
      const Sent sent = message(bytes);
      require(writer_.append(sent.bytes, sent.origin) == writer_.position());
      staged_.push_back(sent);
    }
  }
  void lend() {
    const std::size_t bytes = make_room();
    if (bytes == 0) {
      return;
    }
    const std::span<std::byte> place = writer_.loan(bytes);
    require(place.size() == bytes);
    if (input_->ConsumeIntegralInRange(0, 3) == 0) {
      std::ranges::fill(place, std::byte{0xff});
      writer_.cancel_loan();
      return;
    }
    const Sent sent = message(input_->ConsumeIntegralInRange<std::size_t>(1, bytes));
    std::ranges::copy(sent.bytes, place.begin());
    writer_.stage_loan(sent.bytes.size(), sent.origin);
    staged_.push_back(sent);
  }

  FuzzedDataProvider* input_;
  Memory memory_{kBytes};
  LogWriter writer_{memory_.bytes()};
  std::array<Reader, 2> readers_ = {Reader(memory_, 0), Reader(memory_, 1)};
  std::vector<Sent> published_;
  std::vector<Sent> staged_;
};

// Whatever the memory says, nothing outside the ring is named, and a lie is final.
class Lied {
 public:
  explicit Lied(FuzzedDataProvider& input)
      : input_(&input),
        reader_(memory_.bytes(), input.ConsumeIntegralInRange<std::uint64_t>(0, 4 * kRing) & ~15ULL,
                input.ConsumeBool() ? 0 : FLOWFS_SEQUENCE_ANY, 1) {}

  void step() {
    switch (input_->ConsumeIntegralInRange(0, 5)) {
      case 0:
        memory_.scribble(*input_);
        break;
      case 1:
        plausible_record();
        break;
      case 2:
        header().tail = near(reader_.position());
        break;
      case 3:
        (input_->ConsumeBool() ? header().floor : header().last) = near(reader_.position());
        break;
      case 4:
        reader_.skip_to_newest();
        break;
      default:
        read();
    }
  }

 private:
  [[nodiscard]] flowfs_log& header() const {
    return *reinterpret_cast<flowfs_log*>(memory_.bytes().data());
  }
  std::uint64_t near(std::uint64_t position) {
    return position + input_->ConsumeIntegralInRange<std::uint64_t>(0, 2 * kRing / 8) * 8 - kRing;
  }
  // Nearly right, where the reader looks next.
  void plausible_record() {
    flowfs_log_record record{};
    record.length = input_->ConsumeIntegralInRange<std::uint32_t>(0, kRing + 16);
    record.origin = input_->ConsumeIntegralInRange<std::uint32_t>(0, kOrigins);
    record.sequence = reader_.sequence() + input_->ConsumeIntegralInRange<std::uint64_t>(0, 2);
    const std::uint64_t place = reader_.position() % kRing;
    std::memcpy(memory_.bytes().data() + FLOWFS_LOG_HEADER_BYTES + place, &record,
                std::min<std::size_t>(sizeof record, kRing - place));
  }
  void read() {
    LogReader::Record record;
    const auto found = reader_.peek(record);
    if (found == LogReader::Outcome::corrupt) {
      require(reader_.peek(record) == LogReader::Outcome::corrupt);
    }
    if (found != LogReader::Outcome::record) {
      return;
    }
    const std::byte* const ring = memory_.bytes().data() + FLOWFS_LOG_HEADER_BYTES;
    require(!record.payload.empty() && record.payload.data() >= ring &&
            record.payload.data() + record.payload.size() <= ring + kRing);
    copy_.resize(record.payload.size());
    (void)reader_.copy(copy_);
    reader_.pop();
  }

  FuzzedDataProvider* input_;
  Memory memory_{kBytes};
  LogReader reader_;
  std::vector<std::byte> copy_;
};

template <typename Trial>
void run(FuzzedDataProvider& input) {
  Trial trial(input);
  for (int i = 0; i < 2'000 && input.remaining_bytes() > 0; ++i) {
    trial.step();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  if (input.ConsumeBool()) {
    run<Honest>(input);
  } else {
    run<Lied>(input);
  }
  return 0;
}
