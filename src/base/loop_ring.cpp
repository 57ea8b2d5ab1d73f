// SPDX-License-Identifier: BSD-3-Clause
// How requests reach the kernel and come back (see loop_impl.hpp).
#include <algorithm>
#include <optional>

#include "base/loop_impl.hpp"

namespace flowfs {

Loop::Operation::Operation(Impl& loop) : loop_(&loop) { loop.add(*this); }

Loop::Operation::~Operation() {
  if (loop_ != nullptr) {
    loop_->remove(*this);
  }
}

void Loop::Operation::abandon() {
  abandoned_ = true;
  if (loop_ != nullptr) {
    withdraw();
  }
  if (!running_) {
    forget();
  }
  release();
}

void Loop::Operation::detach() {
  retain();
  request_lost();
  loop_->remove(*this);
  loop_ = nullptr;
  forget();
  release();
}

void RingOperation::withdraw() { loop_->withdraw(*this); }

void RingOperation::request_lost() {
  if (std::exchange(state_, State::idle) == State::in_kernel) {
    let_go();
    release();
  }
}

void Loop::Impl::add(Operation& operation) {
  operation.index = operations_.size();
  operations_.push_back(&operation);
}

void Loop::Impl::remove(Operation& operation) {
  operations_[operation.index] = operations_.back();
  operations_[operation.index]->index = operation.index;
  operations_.pop_back();
}

void Loop::Impl::submit(RingOperation& operation) {
  FLOWFS_CHECK(operation.state_ == RingOperation::State::idle);
  operation.state_ = RingOperation::State::queued;
  operation.slot_ = queue_.size();
  queue_.push_back(&operation);
}

void Loop::Impl::withdraw(RingOperation& operation) {
  switch (operation.state_) {
    case RingOperation::State::idle:
      break;
    case RingOperation::State::queued:
      queue_[operation.slot_] = nullptr;
      operation.state_ = RingOperation::State::idle;
      operation.let_go();
      break;
    case RingOperation::State::in_kernel:
      operation.slot_ = cancellations_.size();
      operation.cancelling_ = true;
      cancellations_.push_back(&operation);
      break;
  }
}

void Loop::Impl::prepare_cancellations() {
  for (RingOperation* operation : cancellations_) {
    if (operation != nullptr) {
      make_space(1);
      io_uring_sqe* entry = io_uring_get_sqe(&ring_);
      io_uring_prep_cancel(entry, operation, 0);
      io_uring_sqe_set_flags(entry, IOSQE_CQE_SKIP_SUCCESS);
      io_uring_sqe_set_data(entry, nullptr);  // nor is "already gone" of interest
      operation->cancelling_ = false;
    }
  }
  cancellations_.clear();
}

void Loop::Impl::prepare_queued() {
  for (RingOperation* operation : queue_) {
    if (operation != nullptr) {
      make_space(operation->entries());
      operation->prepare(ring_);
      operation->state_ = RingOperation::State::in_kernel;
      operation->retain();
      ++requests_in_kernel_;
    }
  }
  queue_.clear();
}

void Loop::Impl::make_space(unsigned entries) {
  while (io_uring_sq_space_left(&ring_) < entries) {
    submit_prepared();
  }
}

// EBUSY and EAGAIN: the completions seen must be taken before more can be submitted.
void Loop::Impl::submit_prepared() {
  const int result = io_uring_submit_and_get_events(&ring_);
  FLOWFS_CHECK(result >= 0 || result == -EBUSY || result == -EAGAIN || result == -EINTR);
  collect();
}

void Loop::Impl::enter(Instant until) {
  prepare_cancellations();
  prepare_queued();
  const bool more = posted_by_self_ || !completions_.empty();
  const Instant now = until == kNever ? Instant() : Clock::now();
  if (more || until <= now) {
    submit_prepared();
  } else {
    sleep(until == kNever ? std::nullopt : std::optional(until - now));
  }
  // No callback runs while an entry of the submission queue waits for the kernel: it could close
  // the descriptor.
  while (io_uring_sq_ready(&ring_) > 0) {
    submit_prepared();
  }
}

void Loop::Impl::sleep(std::optional<Clock::duration> longest) {
  __kernel_timespec limit{};
  if (longest) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(*longest);
    limit.tv_sec = seconds.count();
    limit.tv_nsec = (*longest - seconds).count();
  }
  io_uring_cqe* first = nullptr;
  const int result =
      io_uring_submit_and_wait_timeout(&ring_, &first, 1, longest ? &limit : nullptr, nullptr);
  FLOWFS_CHECK(result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY ||
               result == -EAGAIN);
  collect();
}

void Loop::Impl::collect() {
  unsigned head = 0;
  unsigned seen = 0;
  io_uring_cqe* entry = nullptr;
  io_uring_for_each_cqe(&ring_, head, entry) {
    ++seen;
    if (auto* operation = static_cast<RingOperation*>(io_uring_cqe_get_data(entry))) {
      completions_.push_back({operation, entry->res});
    }
  }
  io_uring_cq_advance(&ring_, seen);
}

void Loop::Impl::finish(RingOperation& operation, std::int32_t result) {
  --requests_in_kernel_;
  operation.state_ = RingOperation::State::idle;
  if (std::exchange(operation.cancelling_, false)) {
    cancellations_[operation.slot_] = nullptr;
  }
  if (operation.abandoned_) {
    operation.let_go();
  } else {
    operation.completed(result);
  }
  operation.release();
}

}  // namespace flowfs
