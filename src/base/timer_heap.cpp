// SPDX-License-Identifier: BSD-3-Clause
#include "base/timer_heap.hpp"

namespace flowfs {

void TimerHeap::arm(Entry& entry, Instant deadline) {
  disarm(entry);
  if (deadline == kNever) {
    return;
  }
  entry.deadline_ = deadline;
  entry.sequence_ = next_sequence_++;
  heap_.push_back(&entry);
  sift_up(entry, heap_.size() - 1);
}

void TimerHeap::disarm(Entry& entry) {
  if (entry.deadline_ == kNever) {
    return;
  }
  entry.deadline_ = kNever;
  if (entry.expiring_) {
    entry.expiring_ = false;
    expiring_[entry.position_] = nullptr;
  } else {
    remove_at(entry.position_);
  }
}

void TimerHeap::expire(Instant now) {
  while (soonest() <= now && !heap_.empty()) {
    Entry& entry = *heap_[0];
    remove_at(0);
    entry.expiring_ = true;
    entry.position_ = expiring_.size();
    expiring_.push_back(&entry);
  }
  // By index, and each looked up anew: expired() may disarm or destroy any that is still to come.
  for (std::size_t i = 0; i < expiring_.size(); ++i) {  // NOLINT(modernize-loop-convert)
    if (Entry* entry = expiring_[i]; entry != nullptr) {
      disarm(*entry);
      entry->expired();
    }
  }
  expiring_.clear();
}

void TimerHeap::place(Entry& entry, std::size_t position) {
  heap_[position] = &entry;
  entry.position_ = position;
}

void TimerHeap::sift_up(Entry& entry, std::size_t position) {
  while (position > 0) {
    const std::size_t parent = (position - 1) / 2;
    if (!before(entry, *heap_[parent])) {
      break;
    }
    place(*heap_[parent], position);
    position = parent;
  }
  place(entry, position);
}

void TimerHeap::sift_down(Entry& entry, std::size_t position) {
  while (true) {
    std::size_t child = 2 * position + 1;
    if (child >= heap_.size()) {
      break;
    }
    if (child + 1 < heap_.size() && before(*heap_[child + 1], *heap_[child])) {
      ++child;
    }
    if (!before(*heap_[child], entry)) {
      break;
    }
    place(*heap_[child], position);
    position = child;
  }
  place(entry, position);
}

void TimerHeap::remove_at(std::size_t position) {
  Entry& last = *heap_.back();
  heap_.pop_back();
  if (position == heap_.size()) {
    return;
  }
  if (position > 0 && before(last, *heap_[(position - 1) / 2])) {
    sift_up(last, position);
  } else {
    sift_down(last, position);
  }
}

}  // namespace flowfs
