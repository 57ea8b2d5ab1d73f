// SPDX-License-Identifier: BSD-3-Clause
// What is behind a flowfs_handle: pending until it is up, then mapped or in file mode. Which of the
// things in the tree it is an end of, a derived class knows.
//
// Threads, errors, fork: as flowfs.h says.
// Invariants:
//   1. The mode leaves `pending` once, and changes no more but to `forked`, in a child.
//   2. sides_, sender_ and receiver_ are set before the mode is `mapped`, and last as long as the
//      end.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <type_traits>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "flowfs/flowfs.h"
#include "lib/file_mode.hpp"
#include "lib/sides.hpp"

namespace flowfs::lib {

class End {
 public:
  virtual ~End();
  End(const End&) = delete;
  End& operator=(const End&) = delete;

  Status send(std::span<const std::byte> message, const Wait& wait);
  Status send(Pieces message, const Wait& wait);
  Result<std::size_t> send_many(Pieces messages, const Wait& wait);
  Result<Space> loan(std::size_t bytes, const Wait& wait);
  Status commit(std::uint64_t id, std::size_t bytes, const Wait& wait);
  Status cancel(std::uint64_t id);
  // Sends what `from` has borrowed as `id`, and releases it there.
  Status forward(End& from, std::uint64_t id, const Wait& wait);
  // Loans of so many bytes and more take a block; 0: those that do not fit a record.
  void set_block_least(std::size_t bytes) {
    block_least_.store(bytes, std::memory_order_relaxed);  // stands for itself
  }

  Result<std::size_t> receive(Pieces into, const Wait& wait);
  Result<std::size_t> receive_many(std::span<iovec> into, const Wait& wait);
  Result<View> borrow(const Wait& wait);
  Status release(std::uint64_t id);
  Result<std::uint64_t> skip();

  // For a set. Settles the mode where that needs no wait; whatever comes of it, the next call says.
  void settle() {
    // NOLINTNEXTLINE(bugprone-unused-return-value): as said
    static_cast<void>(establish(kAtOnce));
  }
  // The directions of an end that is mapped, for as long as the lock is held.
  template <typename F>
  auto with_sender(F use) {
    const std::lock_guard turn(send_mutex_);
    return use(sides_->sending());
  }
  template <typename F>
  auto with_receiver(F use) {
    const std::lock_guard turn(receive_mutex_);
    return use(sides_->receiving());
  }

  // Serial of the pool whose blocks may be handed to the peer now; 0: none.
  [[nodiscard]] virtual std::uint64_t pool() const { return 0; }
  virtual Status shut_down(bool receiving, bool sending) = 0;
  Result<int> descriptor();
  [[nodiscard]] std::uint64_t id() const { return mode() == Mode::forked ? 0 : id_; }
  [[nodiscard]] bool is_mapped() const { return mode() == Mode::mapped; }
  [[nodiscard]] virtual Result<std::uint32_t> state() const = 0;
  [[nodiscard]] virtual Result<flowfs_peer> peer() const = 0;

  // In a forked child: lets go of everything without touching what is the parent's.
  virtual void abandon();

 protected:
  enum class Mode : std::uint8_t { pending, file, mapped, forked };

  // A message file of the tree, in packet mode.
  struct MessageFile {
    Fd fd;
    int access = 0;  // O_RDONLY, O_WRONLY or O_RDWR
    std::uint64_t id = 0;
  };
  // The access that `flags` ask for.
  static int access_of(unsigned flags);
  // `path` is below `folder`, or AT_FDCWD. What such a file waits for is polled for later; only a
  // backlog that is full is waited for here.
  static Result<MessageFile> open_message(int folder, const std::string& path, int access,
                                          const Wait& wait);

  End(MessageFile message, std::string mount, unsigned flags, FileSender::Mtu mtu);

  // acquire, pairs with settle_as(): sides_ and what goes with it.
  [[nodiscard]] Mode mode() const { return mode_.load(std::memory_order_acquire); }
  Status establish(const Wait& wait);
  // Waits until the end is up, and calls settle_as(); in the turn of the calling thread.
  virtual Status come_up(const Wait& wait) = 0;
  // Null: file mode.
  void settle_as(std::unique_ptr<MappedSides> sides);
  // Fails in a forked child.
  [[nodiscard]] Status is_ours() const {
    return mode() == Mode::forked ? fail(EBADF, "the parent's") : Status{};
  }

  [[nodiscard]] int message() const { return message_.get(); }
  [[nodiscard]] const std::string& mount() const { return mount_; }
  [[nodiscard]] unsigned flags() const { return flags_; }
  [[nodiscard]] bool may_receive() const { return may_receive_; }
  [[nodiscard]] std::mutex& send_mutex() { return send_mutex_; }

 private:
  // `call(sender)` in the turn of the calling thread, with the sender of the end's mode.
  template <typename Call>
  std::invoke_result_t<Call, Sender&> sending(const Wait& wait, Call call);
  template <typename Call>
  std::invoke_result_t<Call, Receiver&> receiving(const Wait& wait, Call call);
  Status forward_block(End& from, std::uint64_t id, PooledMessage message, const Wait& wait);

  Fd message_;
  std::string mount_;
  std::uint64_t id_;
  unsigned flags_;
  bool may_receive_;
  bool may_send_;
  std::atomic<Mode> mode_ = Mode::pending;
  std::mutex mode_mutex_;
  std::mutex send_mutex_;
  std::mutex receive_mutex_;
  bool polled_ = false;  // by mode_mutex_
  std::atomic<std::size_t> block_least_ = 0;
  FileSender file_sender_;
  FileReceiver file_receiver_;
  std::unique_ptr<MappedSides> sides_;
  // Those of the end's mode.
  Sender* sender_ = &file_sender_;
  Receiver* receiver_ = &file_receiver_;
};

// The value of `key` in a text of `key value` lines; EPROTO where there is no such number.
Result<std::uint64_t> number_of(const std::string& text, const std::string& key);

}  // namespace flowfs::lib
