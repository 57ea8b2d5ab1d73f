// SPDX-License-Identifier: BSD-3-Clause
#include "flow/message_queue.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/result.hpp"

namespace flowfs::flow {

void MessageQueue::push(std::span<const std::byte> message) {
  const auto place = push_uninitialised(message.size());
  std::memcpy(place.data(), message.data(), message.size());
}

std::span<std::byte> MessageQueue::push_uninitialised(std::size_t bytes) {
  FLOWFS_CHECK(bytes > 0 && bytes <= std::numeric_limits<Length>::max());
  make_room(sizeof(Length) + bytes);
  const auto length = static_cast<Length>(bytes);
  std::memcpy(buffer_.get() + tail_, &length, sizeof length);
  const std::span<std::byte> place{buffer_.get() + tail_ + sizeof length, bytes};
  tail_ += sizeof length + bytes;
  ++count_;
  payload_bytes_ += bytes;
  return place;
}

void MessageQueue::take_back(std::size_t bytes) {
  FLOWFS_CHECK(count_ != 0 && bytes <= payload_bytes_);
  tail_ -= sizeof(Length) + bytes;
  payload_bytes_ -= bytes;
  if (--count_ == 0) {
    clear();
  }
}

std::span<const std::byte> MessageQueue::front_rest() const {
  return front_whole().subspan(consumed_);
}

std::span<const std::byte> MessageQueue::front_whole() const {
  return {buffer_.get() + head_ + sizeof(Length), front_length()};
}

void MessageQueue::consume(std::size_t bytes) {
  const std::size_t rest = front_length() - consumed_;
  FLOWFS_CHECK(bytes <= rest);
  if (bytes == rest) {
    pop();
  } else {
    consumed_ += bytes;
  }
}

void MessageQueue::pop() {
  const std::size_t length = front_length();
  head_ += sizeof(Length) + length;
  consumed_ = 0;
  payload_bytes_ -= length;
  if (--count_ == 0) {
    clear();
  }
}

void MessageQueue::clear() {
  head_ = tail_ = count_ = payload_bytes_ = consumed_ = 0;
  if (capacity_ > kKeptBytes) {
    buffer_.reset();
    capacity_ = 0;
  }
}

std::size_t MessageQueue::front_length() const {
  FLOWFS_CHECK(count_ != 0);
  return length_at(head_);
}

std::size_t MessageQueue::length_at(std::size_t offset) const {
  Length length = 0;
  std::memcpy(&length, buffer_.get() + offset, sizeof length);
  return length;
}

// Moves what is queued to the beginning where that frees at least half of the buffer (so that each
// byte is moved at most once per byte consumed), else into a larger buffer.
void MessageQueue::make_room(std::size_t bytes) {
  if (capacity_ - tail_ >= bytes) {
    return;
  }
  const std::size_t used = tail_ - head_;
  if (capacity_ - used >= bytes && head_ >= used) {
    std::memmove(buffer_.get(), buffer_.get() + head_, used);
  } else {
    const std::size_t grown = std::max({used + bytes, 2 * used, std::size_t{256}});
    auto larger = std::make_unique_for_overwrite<std::byte[]>(grown);
    if (used != 0) {
      std::memcpy(larger.get(), buffer_.get() + head_, used);
    }
    buffer_ = std::move(larger);
    capacity_ = grown;
  }
  head_ = 0;
  tail_ = used;
}

}  // namespace flowfs::flow
