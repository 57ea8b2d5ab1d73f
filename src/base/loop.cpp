// SPDX-License-Identifier: BSD-3-Clause
// The public face: makes operations and hands out their handles.
#include "base/loop.hpp"

#include <fmt/format.h>
#include <liburing.h>

#include "base/loop_operations.hpp"

namespace flowfs {

Loop::Handle& Loop::Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    // Taken over before the old one goes: its captures may look at this handle.
    Operation* old = std::exchange(operation_, std::exchange(other.operation_, nullptr));
    if (old != nullptr) {
      old->abandon();
    }
  }
  return *this;
}

void Loop::Handle::reset() noexcept {
  if (Operation* operation = std::exchange(operation_, nullptr); operation != nullptr) {
    operation->abandon();
  }
}

void Loop::Timer::arm(Instant deadline) {
  FLOWFS_CHECK(operation_ != nullptr);
  static_cast<TimerOperation*>(operation_)->arm(deadline);
}

void Loop::Timer::disarm() {
  if (operation_ != nullptr) {
    arm(kNever);
  }
}

Instant Loop::Timer::deadline() const {
  return operation_ == nullptr ? kNever : static_cast<TimerOperation*>(operation_)->deadline();
}

bool Loop::FutexWait::pending() const {
  return operation_ != nullptr && static_cast<FutexOperation*>(operation_)->pending();
}

void Loop::Reader::read(std::span<std::byte> buffer, std::shared_ptr<void> keep_alive) {
  FLOWFS_CHECK(operation_ != nullptr);
  static_cast<ReadOperation*>(operation_)->read(buffer, std::move(keep_alive));
}

Loop::Loop(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Loop::~Loop() = default;

Result<std::unique_ptr<Loop>> Loop::create(unsigned entries, Features features) {
  auto impl = Impl::create(entries, features);
  if (!impl) {
    return std::unexpected(impl.error());
  }
  return std::unique_ptr<Loop>(new Loop(std::move(*impl)));
}

void Loop::run() { impl_->run(); }

void Loop::run_once(Micros wait) { impl_->run_once(wait); }

void Loop::stop() { impl_->stop(); }

Loop::Watch Loop::watch(int fd, short events, std::function<void(short)> callback) {
  auto* operation =
      new WatchOperation(*impl_, fd, events, WatchOperation::Repeat::yes, std::move(callback));
  impl_->submit(*operation);
  return Watch(operation);
}

Loop::Timer Loop::timer(std::function<void()> callback) {
  return Timer(new TimerOperation(*impl_, std::move(callback)));
}

Loop::FutexWait Loop::futex_wait(const FutexWord* word, std::uint32_t expected,
                                 std::shared_ptr<void> keep_alive, std::function<void()> callback) {
  auto* operation =
      new FutexOperation(*impl_, word, expected, std::move(keep_alive), std::move(callback));
  operation->start();
  return FutexWait(operation);
}

Loop::Reader Loop::reader(int fd, std::function<void(std::int32_t)> callback) {
  return Reader(new ReadOperation(*impl_, fd, std::move(callback)));
}

void Loop::post(std::function<void()> task) { impl_->post(std::move(task)); }

bool Loop::futex_in_ring() const { return impl_->futex_in_ring(); }

std::string Loop::ring_version() {
  return fmt::format("{}.{}", io_uring_major_version(), io_uring_minor_version());
}

std::uint64_t Loop::rounds() const { return impl_->rounds(); }

}  // namespace flowfs
