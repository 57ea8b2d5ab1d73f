// SPDX-License-Identifier: BSD-3-Clause
// An opener between a sealer and somebody who delivers what he likes: records as they were,
// changed, doubled, late, made up. What is opened is what was sealed, and once; nothing else moves
// the opener.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <set>
#include <vector>

#include "auth/record.hpp"

namespace {

using flowfs::Instant;
using flowfs::auth::Bytes;
using flowfs::auth::Choice;
using flowfs::auth::RecordOpener;
using flowfs::auth::RecordSealer;
using flowfs::auth::Secret;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

constexpr flowfs::auth::RekeyLimits kLimits{.records = 8, .last_epoch = 40};

struct Sent {
  Bytes plain;
  Bytes record;
};

class Trial {
 public:
  explicit Trial(FuzzedDataProvider& input) : input_(input) {
    choice_.key_exchange = flowfs::auth::KeyExchange::x25519;
    choice_.cipher = static_cast<flowfs::auth::Cipher>(input.ConsumeIntegralInRange(1, 3));
    choice_.kdf = flowfs::auth::Kdf::hkdf;
    sealer_ = std::move(*RecordSealer::create(choice_, Secret(32), now_, kLimits));
    opener_ = std::move(*RecordOpener::create(choice_, Secret(32), kLimits));
  }

  void step() {
    switch (input_.ConsumeIntegralInRange(0, 4)) {
      case 0:
        return seal();
      case 1:
        now_ += std::chrono::seconds(input_.ConsumeIntegralInRange(0, 130));
        return;
      case 2:
        return deliver();
      case 3:
        return deliver_changed();
      default:
        return open_unsealed(bytes(60));
    }
  }

 private:
  Bytes bytes(std::size_t most) {
    const auto raw =
        input_.ConsumeBytes<std::uint8_t>(input_.ConsumeIntegralInRange(std::size_t{0}, most));
    const auto view = std::as_bytes(std::span(raw));
    return {view.begin(), view.end()};
  }
  void seal() {
    Sent one{.plain = bytes(40), .record = {}};
    one.record.resize(one.plain.size() + flowfs::auth::kRecordOverhead);
    if (sealer_->seal(one.plain, one.record, now_) == RecordSealer::Outcome::ok) {
      sent_.push_back(std::move(one));
    }
  }
  std::size_t choose() { return input_.ConsumeIntegralInRange(std::size_t{0}, sent_.size() - 1); }

  RecordOpener::Outcome open(const Bytes& record, Bytes& plain) {
    plain.resize(record.size() - std::min(record.size(), flowfs::auth::kRecordOverhead));
    return opener_->open(record, plain, now_);
  }
  void deliver() {
    if (sent_.empty()) {
      return;
    }
    const std::size_t which = choose();
    Bytes plain;
    if (open(sent_[which].record, plain) == RecordOpener::Outcome::ok) {
      require(plain == sent_[which].plain && opened_.insert(which).second);
    }
  }
  void open_unsealed(const Bytes& record) {
    const auto epoch = opener_->epoch();
    Bytes plain;
    require(open(record, plain) != RecordOpener::Outcome::ok);
    require(opener_->epoch() == epoch);
  }
  void deliver_changed() {
    if (sent_.empty()) {
      return;
    }
    Bytes record = sent_[choose()].record;
    const auto at = input_.ConsumeIntegralInRange(std::size_t{0}, record.size() - 1);
    record[at] ^= static_cast<std::byte>(input_.ConsumeIntegralInRange(1, 255));
    open_unsealed(record);
  }

  FuzzedDataProvider& input_;
  Choice choice_;
  Instant now_ = Instant{} + std::chrono::seconds(1'000);
  std::optional<RecordSealer> sealer_;
  std::optional<RecordOpener> opener_;
  std::vector<Sent> sent_;
  std::set<std::size_t> opened_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  Trial trial(input);
  for (int steps = 0; steps < 200 && input.remaining_bytes() > 0; ++steps) {
    trial.step();
  }
  return 0;
}
