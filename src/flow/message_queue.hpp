// SPDX-License-Identifier: BSD-3-Clause
// Messages in order, in one block of private memory.
//
// Shape: `u32 length, payload` records, back to back, between head_ and tail_ of one buffer. A
// message is always contiguous, so the front can be handed out in place; a byte of payload costs a
// byte, and a message four more, whatever its length (a million one-byte messages are no multiple
// of what was charged for them but a small one). Threads: one. Units: bytes. Invariants:
//   1. payload_bytes() is the sum of the lengths of what is queued, the front counted whole until
//   it
//      is gone.
//   2. An empty queue keeps at most kKeptBytes of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace flowfs::flow {

class MessageQueue {
 public:
  static constexpr std::size_t kKeptBytes = 4096;

  // `message` is not empty and shorter than 4 GiB.
  void push(std::span<const std::byte> message);
  // Room for one message of `bytes`, filled by the caller before the next call on this queue.
  std::span<std::byte> push_uninitialised(std::size_t bytes);
  // Takes back the message of `bytes` that was pushed last, of which nothing has been consumed.
  void take_back(std::size_t bytes);

  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::size_t payload_bytes() const { return payload_bytes_; }

  // What is left of the first message, valid until the next call that changes the queue. The queue
  // is not empty.
  [[nodiscard]] std::span<const std::byte> front_rest() const;
  // The first message whole, whatever was consumed of it.
  [[nodiscard]] std::span<const std::byte> front_whole() const;
  [[nodiscard]] bool front_begun() const { return consumed_ != 0; }
  // Takes `bytes` <= front_rest().size() off the first message, which goes when nothing is left.
  void consume(std::size_t bytes);
  void pop();
  void clear();

  // Calls `each(whole message)` from the first to the last while it returns true; returns whether
  // it always did.
  template <typename F>
  bool visit(F each) const {
    std::size_t at = head_;
    for (std::size_t i = 0; i < count_; ++i) {
      const std::size_t length = length_at(at);
      if (!each(std::span<const std::byte>{buffer_.get() + at + sizeof(Length), length})) {
        return false;
      }
      at += sizeof(Length) + length;
    }
    return true;
  }

  [[nodiscard]] std::size_t memory_bytes() const { return capacity_; }

 private:
  using Length = std::uint32_t;
  [[nodiscard]] std::size_t length_at(std::size_t offset) const;
  [[nodiscard]] std::size_t front_length() const;
  void make_room(std::size_t bytes);

  std::unique_ptr<std::byte[]> buffer_;
  std::size_t capacity_ = 0;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
  std::size_t count_ = 0;
  std::size_t payload_bytes_ = 0;
  std::size_t consumed_ = 0;  // of the first message
};

}  // namespace flowfs::flow
