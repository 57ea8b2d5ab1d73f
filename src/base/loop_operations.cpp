// SPDX-License-Identifier: BSD-3-Clause
#include "base/loop_operations.hpp"

#include <linux/futex.h>
#include <poll.h>

#include <cerrno>
#include <limits>

namespace flowfs {
namespace {

constexpr std::uint32_t kFutex2SizeU32 = 0x02;  // FUTEX2_SIZE_U32; not FUTEX2_PRIVATE: shared

}  // namespace

WatchOperation::WatchOperation(Loop::Impl& loop, int fd, short events, Repeat repeat,
                               std::function<void(short)> callback, Fd owned)
    : RingOperation(loop),
      fd_(fd),
      events_(events),
      repeat_(repeat),
      callback_(std::move(callback)),
      owned_(std::move(owned)) {}

void WatchOperation::prepare(io_uring& ring) {
  // One-shot and submitted again after the callback, not multishot: arming looks at the present
  // state, which is what makes the watch level-triggered; it costs an entry and no system call.
  io_uring_sqe* entry = io_uring_get_sqe(&ring);
  io_uring_prep_poll_add(entry, fd_, static_cast<unsigned short>(events_));
  io_uring_sqe_set_data(entry, this);
}

void WatchOperation::completed(std::int32_t result) {
  if (result < 0) {
    call(callback_, static_cast<short>(POLLNVAL));
    return;
  }
  if (repeat_ == Repeat::yes) {
    loop_->submit(*this);  // only queued: the callback comes before it is armed, or takes it back
  }
  call(callback_, static_cast<short>(result));
}

void WatchOperation::forget() { std::exchange(callback_, {}); }

TimerOperation::TimerOperation(Loop::Impl& loop, std::function<void()> callback)
    : Operation(loop), callback_(std::move(callback)) {}

void TimerOperation::arm(Instant deadline) {
  if (loop_ != nullptr) {
    loop_->timers().arm(*this, deadline);
  }
}

void TimerOperation::expired() { call(callback_); }

void TimerOperation::withdraw() { loop_->timers().disarm(*this); }

void TimerOperation::request_lost() { loop_->timers().disarm(*this); }

void TimerOperation::forget() { std::exchange(callback_, {}); }

FutexOperation::FutexOperation(Loop::Impl& loop, const FutexWord* word, std::uint32_t expected,
                               std::shared_ptr<void> keep_alive, std::function<void()> callback)
    : RingOperation(loop),
      word_(word),
      expected_(expected),
      keep_alive_(std::move(keep_alive)),
      callback_(std::move(callback)) {}

void FutexOperation::start() {
  FutexPool* pool = loop_->futex_pool();
  if (pool == nullptr) {
    loop_->submit(*this);
    return;
  }
  pooled_ = std::make_shared<FutexPool::Wait>();
  pooled_->word = word_;
  pooled_->expected = expected_;
  pooled_->keep_alive = std::move(keep_alive_);
  pooled_->woken = [this] { over(); };
  pool->add(pooled_);
}

void FutexOperation::prepare(io_uring& ring) {
  io_uring_sqe* entry = io_uring_get_sqe(&ring);
  io_uring_prep_futex_wait(entry, nullptr, expected_, FUTEX_BITSET_MATCH_ANY, kFutex2SizeU32, 0);
  entry->addr = reinterpret_cast<std::uintptr_t>(word_);  // the parameter above lacks the const
  io_uring_sqe_set_data(entry, this);
}

// Woken (0), changed (-EAGAIN) or refused: whoever waits looks at the word in any case, and a look
// too many is harmless.
void FutexOperation::completed(std::int32_t /*result*/) { over(); }

void FutexOperation::over() {
  const auto word_owner = std::exchange(keep_alive_, nullptr);
  const auto wait = std::exchange(pooled_, nullptr);
  call(callback_);
}

void FutexOperation::let_go() { keep_alive_.reset(); }

void FutexOperation::withdraw() {
  if (pooled_ == nullptr) {
    RingOperation::withdraw();
    return;
  }
  pooled_->woken = nullptr;
  loop_->futex_pool()->remove(pooled_);
  pooled_.reset();
}

void FutexOperation::request_lost() {
  pooled_.reset();
  RingOperation::request_lost();
}

void FutexOperation::forget() { std::exchange(callback_, {}); }

ReadOperation::ReadOperation(Loop::Impl& loop, int fd, std::function<void(std::int32_t)> callback)
    : RingOperation(loop), fd_(fd), callback_(std::move(callback)) {}

void ReadOperation::read(std::span<std::byte> buffer, std::shared_ptr<void> keep_alive) {
  FLOWFS_CHECK(state() == State::idle);
  if (loop_ != nullptr) {
    buffer_ = buffer;
    keep_alive_ = std::move(keep_alive);
    loop_->submit(*this);
  }
}

void ReadOperation::prepare(io_uring& ring) {
  io_uring_sqe* poll = io_uring_get_sqe(&ring);
  io_uring_prep_poll_add(poll, fd_, POLLIN);
  io_uring_sqe_set_flags(poll, IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
  io_uring_sqe_set_data(poll, this);
  io_uring_sqe* read = io_uring_get_sqe(&ring);
  constexpr std::size_t most = std::numeric_limits<std::int32_t>::max();
  io_uring_prep_read(read, fd_, buffer_.data(),
                     static_cast<unsigned>(std::min(buffer_.size(), most)),
                     static_cast<std::uint64_t>(-1));
  io_uring_sqe_set_data(read, this);
}

void ReadOperation::completed(std::int32_t result) {
  if (result == -EAGAIN || result == -EINTR) {
    loop_->submit(*this);  // somebody else read it first
    return;
  }
  const auto buffer_owner = std::exchange(keep_alive_, nullptr);
  call(callback_, result);
}

void ReadOperation::let_go() { keep_alive_.reset(); }

void ReadOperation::forget() { std::exchange(callback_, {}); }

}  // namespace flowfs
