// SPDX-License-Identifier: BSD-3-Clause
#include "flow/sealing.hpp"

#include <algorithm>
#include <utility>

namespace flowfs::flow {

using auth::RecordOpener;
using auth::RecordSealer;

static_assert(std::uint64_t{Sealing::kEpochs} * Sealing::kHolders == std::uint64_t{1} << 32);

Sealing::Range Sealing::range() const {
  return {.first_epoch = holder_ * kEpochs, .last_epoch = holder_ * kEpochs + (kEpochs - 1)};
}

auth::Secret Sealing::copy_secret() const {
  auth::Secret copy(secret_.bytes().size());
  std::ranges::copy(secret_.bytes(), copy.writable().begin());
  return copy;
}

bool Sealing::seal(std::span<const std::byte> plain, std::span<std::byte> record) {
  FLOWFS_CHECK(!lent_);
  const Instant now = Clock::now();
  if (!sealer_) {
    const Range own = range();
    auth::RekeyLimits limits = limits_;
    limits.last_epoch = own.last_epoch;
    auto made = RecordSealer::create(choice_, copy_secret(), now, limits, own.first_epoch);
    if (!made) {
      return false;
    }
    sealer_.emplace(std::move(*made));
  }
  return sealer_->seal(plain, record, now) == RecordSealer::Outcome::ok;
}

bool Sealing::open(std::span<const std::byte> record) {
  FLOWFS_CHECK(opened_.empty());
  if (!opener_) {
    auto made = RecordOpener::create(choice_, copy_secret(), limits_, mark_);
    if (!made) {
      return false;
    }
    opener_.emplace(std::move(*made));
  }
  if (record.size() <= kOverhead) {
    return false;
  }
  const std::span<std::byte> place = opened_.push_uninitialised(record.size() - kOverhead);
  if (opener_->open(record, place, Clock::now()) != RecordOpener::Outcome::ok) {
    opened_.clear();
    return false;
  }
  behind_opened_ = auth::mark_behind(record);
  return true;
}

bool Sealing::consume(std::size_t bytes) {
  opened_.consume(bytes);
  if (!opened_.empty()) {
    return false;
  }
  mark_ = behind_opened_;
  return true;
}

void Sealing::forget_opened() {
  opened_.clear();
  opener_.reset();  // it has seen the record; the next one has not
}

std::optional<Sealing::Range> Sealing::lend() {
  if (lent_ || holder_ + 2 >= kHolders) {  // one is left for the daemon afterwards
    return std::nullopt;
  }
  lent_ = true;
  ++holder_;
  sealer_.reset();
  return range();
}

void Sealing::take_back() {
  if (std::exchange(lent_, false)) {
    ++holder_;
  }
}

}  // namespace flowfs::flow
