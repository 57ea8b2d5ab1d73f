// SPDX-License-Identifier: BSD-3-Clause
#include "fs/parking.hpp"

#include <new>
#include <utility>

#include "base/fd.hpp"
#include "fs/attributes.hpp"

namespace flowfs::fs {

Waits::~Waits() { fail_all(ECONNABORTED); }

Parked Waits::take_front() {
  ++wake_ups_;
  return parking_.remove(line_.front());
}

// What is told of a cancelled request may destroy this line with its owner: everything is taken out
// first.
void Waits::fail_all(int error) {
  std::vector<Parked> taken;
  while (!line_.empty()) {
    taken.push_back(parking_.remove(line_.front()));
  }
  const auto on_cancel = on_cancel_;
  Replies& replies = parking_.replies_;
  for (const Parked& parked : taken) {
    replies.error(parked.request, error);
    if (on_cancel) {
      on_cancel();
    }
  }
}

void Waits::fail_of(const File* file, int error) {
  for (auto it = line_.begin(); it != line_.end();) {
    Parked& parked = *it++;
    if (parked.file == file) {
      parking_.replies_.error(parking_.remove(parked).request, error);
    }
  }
}

Parking::Parking(Loop& loop, registry::Users& users, Replies& replies, Micros limit)
    : users_(users), replies_(replies), limit_(limit), timer_(loop.timer([this] { expire(); })) {}

bool Parking::park(Waits& home, Parked parked) {
  auto charge = users_.charge(parked.request.uid(), registry::Resource::held, 1);
  if (!charge) {
    replies_.error(parked.request, charge.error().error);
    return false;
  }
  parked.held = std::move(*charge);
  parked.home = &home;
  parked.deadline = later(Clock::now(), limit_);
  home.line_.push_back(std::move(parked));
  Parked& kept = home.line_.back();
  kept.self = std::prev(home.line_.end());
  ++count_;
  ++home.waits_;
  if (kept.deadline != kNever) {
    due_.push_back(&kept);
    kept.due = std::prev(due_.end());
    if (due_.size() == 1) {
      timer_.arm(kept.deadline);
    }
  }
  // An interrupt that came first must not be left to libfuse: it would call back from inside
  // fuse_req_interrupt_func, where an answer frees the request under its feet.
  if (fuse_req_interrupted(kept.request.raw) != 0) {
    on_interrupt(kept.request.raw, &kept);
    return true;
  }
  fuse_req_interrupt_func(kept.request.raw, on_interrupt, &kept);
  return true;
}

bool Parking::park_message(Waits& home, Parked parked, std::span<const std::byte> message) {
  auto charge = users_.charge(parked.request.uid(), registry::Resource::bytes, message.size());
  if (!charge) {
    replies_.error(parked.request, charge.error().error);
    return false;
  }
  try {
    parked.data.assign(message.begin(), message.end());
  } catch (const std::bad_alloc&) {
    replies_.error(parked.request, ENOMEM);
    return false;
  }
  parked.bytes = std::move(*charge);
  return park(home, std::move(parked));
}

void Parking::on_interrupt(fuse_req_t /*request*/, void* parked) {
  auto& held = *static_cast<Parked*>(parked);
  Parking& parking = held.home->parking_;
  ++parking.interrupted_;
  parking.cancel(held, EINTR);
}

void Parking::cancel(Parked& parked, int error) {
  const auto on_cancel = parked.home->on_cancel_;  // a copy: the line may go with its owner
  const Parked gone = remove(parked);
  replies_.error(gone.request, error);
  if (on_cancel) {
    on_cancel();
  }
}

Parked Parking::remove(Parked& parked) {
  if (parked.deadline != kNever) {
    due_.erase(parked.due);
  }
  --count_;
  Parked taken = std::move(parked);
  taken.held.reset();
  taken.home->line_.erase(taken.self);
  return taken;
}

void Parking::expire() {
  const Instant now = Clock::now();
  while (!due_.empty() && due_.front()->deadline <= now) {
    cancel(*due_.front(), due_.front()->late_error);
  }
  if (!due_.empty()) {
    timer_.arm(due_.front()->deadline);
  }
}

Micros longest_park() {
  Micros longest = Micros::max();
  for (const char* name : {"default_request_timeout", "max_request_timeout"}) {
    const auto text = read_file(std::string("/proc/sys/fs/fuse/") + name);
    const auto seconds = text ? parse_number(*text, 1, 1'000'000, false) : fail(ENOENT);
    if (seconds) {
      longest = std::min(longest, Micros(static_cast<std::int64_t>(*seconds) * 500'000));
    }
  }
  return longest;
}

}  // namespace flowfs::fs
