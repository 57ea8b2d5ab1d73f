// SPDX-License-Identifier: BSD-3-Clause
#include "fs/event_log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>

#include "base/clock.hpp"

namespace flowfs::fs {
namespace {

std::string stamp(std::uint64_t wall_us) {
  return fmt::format("{}.{:06}", wall_us / 1'000'000, wall_us % 1'000'000);
}

}  // namespace

EventLog::~EventLog() {
  for (EventFile* reader : readers_) {
    reader->on_log_gone();
  }
}

void EventLog::publish(const registry::Event& event) {
  const std::uint64_t now = event.wall_us != 0 ? event.wall_us : wall_clock_us();
  lines_.push_back(fmt::format("{} {} {} uid={}{}{}\n", stamp(now), to_string(event.kind),
                               event.object, event.uid, event.detail.empty() ? "" : " ",
                               event.detail));
  ++next_;
  if (lines_.size() > kept_) {
    lines_.pop_front();
  }
  for (EventFile* reader : readers_) {
    reader->on_published();
  }
}

EventFile::EventFile(EventLog& log, Parking& parking, Replies& replies, Node node, int flags)
    : File(replies, node, flags),
      log_(&log),
      parking_(parking),
      position_(log.next_),
      readers_(parking) {
  log_->readers_.insert(this);
}

EventFile::~EventFile() {
  if (log_ != nullptr) {
    log_->readers_.erase(this);
  }
}

bool EventFile::next_record() {
  if (taken_ < record_.size()) {
    return true;
  }
  taken_ = 0;
  record_.clear();
  if (log_ == nullptr) {
    return false;
  }
  const std::uint64_t oldest = log_->next_ - log_->lines_.size();
  if (position_ < oldest) {
    record_ = fmt::format("{} lost - count={}\n", stamp(wall_clock_us()), oldest - position_);
    position_ = oldest;
  } else if (position_ < log_->next_) {
    record_ = log_->lines_[position_ - oldest];
    ++position_;
  }
  return !record_.empty();
}

// As many whole records as fit, and at least a part of one.
void EventFile::answer(Request request, std::size_t size) {
  std::string text;
  while (text.size() < size && next_record()) {
    const std::size_t rest = record_.size() - taken_;
    if (!text.empty() && rest > size - text.size()) {
      break;
    }
    const std::size_t part = std::min(rest, size - text.size());
    text.append(record_, taken_, part);
    taken_ += part;
  }
  fuse_reply_buf(request.raw, text.data(), text.size());
}

void EventFile::read(Request request, std::size_t size, const Transfer& transfer) {
  if (transfer.through_cache) {
    replies_.error(request, EINVAL);
  } else if (size == 0 || log_ == nullptr || next_record()) {
    answer(request, size);
  } else if ((transfer.flags & O_NONBLOCK) != 0) {
    replies_.error(request, EAGAIN);
  } else {
    parking_.park(readers_, {.request = request, .file = this, .size = size});
  }
}

unsigned EventFile::ready() {
  const unsigned ended = log_ == nullptr ? POLLIN | POLLRDNORM | POLLHUP : 0;
  return next_record() ? ended | POLLIN | POLLRDNORM : ended;
}

void EventFile::on_log_gone() {
  log_ = nullptr;
  while (!readers_.empty()) {
    const Parked parked = readers_.take_front();
    answer(parked.request, parked.size);
  }
  notify();
}

void EventFile::on_published() {
  while (!readers_.empty() && next_record()) {
    const Parked parked = readers_.take_front();
    answer(parked.request, parked.size);
  }
  notify();
}

}  // namespace flowfs::fs
