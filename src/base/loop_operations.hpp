// SPDX-License-Identifier: BSD-3-Clause
// The kinds of operations behind the handles of a Loop. Included by base/loop*.cpp only.
#pragma once

#include "base/loop_impl.hpp"

namespace flowfs {

class WatchOperation final : public RingOperation {
 public:
  enum class Repeat { no, yes };

  // `owned` is closed with the operation, where the descriptor is the loop's own.
  WatchOperation(Loop::Impl& loop, int fd, short events, Repeat repeat,
                 std::function<void(short)> callback, Fd owned = Fd());
  void prepare(io_uring& ring) override;
  void completed(std::int32_t result) override;

 private:
  void forget() override;

  int fd_;
  short events_;
  Repeat repeat_;
  std::function<void(short)> callback_;
  Fd owned_;
};

class TimerOperation final : public Loop::Operation, public TimerHeap::Entry {
 public:
  TimerOperation(Loop::Impl& loop, std::function<void()> callback);
  void arm(Instant deadline);

 private:
  void expired() override;
  void withdraw() override;
  void forget() override;
  void request_lost() override;

  std::function<void()> callback_;
};

class FutexOperation final : public RingOperation {
 public:
  FutexOperation(Loop::Impl& loop, const FutexWord* word, std::uint32_t expected,
                 std::shared_ptr<void> keep_alive, std::function<void()> callback);
  void start();
  [[nodiscard]] bool pending() const { return pooled_ != nullptr || state() != State::idle; }
  void prepare(io_uring& ring) override;
  void completed(std::int32_t result) override;
  void let_go() override;

 private:
  void withdraw() override;
  void forget() override;
  void request_lost() override;
  void over();

  const FutexWord* word_;
  std::uint32_t expected_;
  std::shared_ptr<void> keep_alive_;
  std::function<void()> callback_;
  std::shared_ptr<FutexPool::Wait> pooled_;  // while a helper thread waits
};

// A poll with a read linked to it. A plain read would not do: on a descriptor that is O_NONBLOCK
// and whose file has no native asynchronous reads, as the FUSE device, the kernel answers EAGAIN
// instead of waiting. The poll completes silently when it succeeds, and where it fails the read is
// silent: there is one completion for the two.
class ReadOperation final : public RingOperation {
 public:
  ReadOperation(Loop::Impl& loop, int fd, std::function<void(std::int32_t)> callback);
  void read(std::span<std::byte> buffer, std::shared_ptr<void> keep_alive);
  [[nodiscard]] unsigned entries() const override { return 2; }
  void prepare(io_uring& ring) override;
  void completed(std::int32_t result) override;
  void let_go() override;

 private:
  void forget() override;

  int fd_;
  std::span<std::byte> buffer_;
  std::shared_ptr<void> keep_alive_;
  std::function<void(std::int32_t)> callback_;
};

}  // namespace flowfs
