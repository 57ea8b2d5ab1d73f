// SPDX-License-Identifier: BSD-3-Clause
// Mapped members that read a log which the bus does not write, and what they have made of it.
#include "fs/direct_bus.hpp"
#include "fs/mapped_member.hpp"
#include "pool/shared.hpp"

namespace flowfs::fs {

// Behind what was seen of the log, or where the first message lies that it has not read as a file.
// Returns the number of that.
std::uint64_t MappedMember::begin_apart() {
  const DirectBus& direct = *live_->direct;
  const bus::Bus::Unread unread = live_->data.set_apart(port_, direct.floor(), Clock::now());
  const bool behind = unread.messages != 0;
  log_generation_ = direct.log().generation();
  said_ = {.position = behind ? unread.begin : direct.position()};
  const std::uint64_t sequence = behind ? unread.sequence : direct.sequence();
  apart_.emplace(ApartTally::Start{.generation = log_generation_, .sequence = sequence});
  apart_end_.reset();
  count_apart(direct.sequence());
  return sequence;
}

void MappedMember::read_apart(const ApartTally::Start& start, std::uint64_t retired_at) {
  apart_.emplace(start);
  apart_end_.reset();
  log_generation_ = start.generation;
  slot_.renew_lane(pool::Generation{log_generation_}, retired_at);
}

void MappedMember::count_apart(std::uint64_t sent) {
  if (!apart_ || live_ == nullptr || lied_) {
    return;
  }
  ApartTally::Said said;
  {
    const auto guard = this->guard();
    const flowfs_segment& own = segment_->header();
    const auto tally = [](const flowfs_log_tally& of) {
      // acquire, both, pairs with BusReceiver::follow: whoever sees what is said of another log
      // sees afterwards that the generation has changed.
      return flowfs_log_tally{.lost = pool::shared(of.lost).load(std::memory_order_acquire),
                              .bytes = pool::shared(of.bytes).load(std::memory_order_acquire)};
    };
    // seq_cst, pairs with CursorPublisher, as in position().
    const auto generation = [&own] {
      return pool::shared(own.cursors.generation).load(std::memory_order_seq_cst);
    };
    const std::uint64_t before = generation();
    said.sequence = pool::shared(own.cursors.bulk).load(std::memory_order_seq_cst);
    said.present = tally(own.present_log);
    said.former = tally(own.former_log);
    said.generation = generation() == before ? before : 0;  // none, while it changes
    check(guard);
  }
  if (!lied_) {
    live_->data.count_apart(port_, apart_->count(sent, said), Clock::now());
  }
}

void MappedMember::read_shared(std::uint64_t retired_at, std::uint64_t sent) {
  count_apart(sent);
  apart_end_ = sent;
  begin_shared(retired_at);
}

void MappedMember::refresh() {
  if (apart_ && apart_end_) {
    count_apart(*apart_end_);
    if (apart_->has_read_all()) {
      apart_.reset();
    }
  }
}

void MappedMember::forget_former() {
  refresh();
  live_->data.forget_apart(port_);
  apart_.reset();
}

bool MappedMember::has_gone_over() {
  if (!segment_ || lied_ || !rights_.receive) {
    return true;
  }
  const auto guard = this->guard();
  // seq_cst, pairs with CursorPublisher.
  const bool over =
      pool::shared(segment_->header().cursors.generation).load(std::memory_order_seq_cst) ==
      log_generation_;
  check(guard);
  return over;
}

}  // namespace flowfs::fs
