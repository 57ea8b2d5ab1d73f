// SPDX-License-Identifier: BSD-3-Clause
// One end of a flow, behind flowfs_handle: pending until it has a peer, then mapped or in file
// mode.
//
// Threads, errors, fork: as flowfs.h says.
// Invariants:
//   1. The mode leaves `pending` once, and changes no more but to `forked`, in a child.
//   2. mapped_ is set before the mode is `mapped`, and lasts as long as the end.
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
#include "lib/mapped_receiver.hpp"
#include "lib/mapped_sender.hpp"

namespace flowfs::lib {

enum class Role : std::uint8_t { client, server };

class End {
 public:
  static Result<std::unique_ptr<End>> open(Role role, const std::string& mount,
                                           const std::string& name, unsigned flags,
                                           const Wait& wait);
  ~End();
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

  // For a set. Settles the mode where that needs no wait; whatever comes of it, the next call says.
  void settle() {
    // NOLINTNEXTLINE(bugprone-unused-return-value): as said
    static_cast<void>(establish({.blocks = false, .deadline = Clock::now()}));
  }
  // The directions of an end that is mapped, for as long as the lock is held.
  template <typename F>
  auto with_sender(F use) {
    const std::lock_guard turn(send_mutex_);
    return use(mapped_->sender);
  }
  template <typename F>
  auto with_receiver(F use) {
    const std::lock_guard turn(receive_mutex_);
    return use(mapped_->receiver);
  }

  // Serial of the pool whose blocks may be handed to the peer now; 0: none.
  [[nodiscard]] std::uint64_t pool() const;
  Status shut_down(bool receiving, bool sending);
  Result<int> descriptor();
  [[nodiscard]] std::uint64_t id() const;
  [[nodiscard]] bool is_mapped() const { return mode() == Mode::mapped; }
  [[nodiscard]] Result<std::uint32_t> state() const;
  [[nodiscard]] Result<flowfs_peer> peer() const;

  // In a forked child: lets go of everything without touching what is the parent's.
  void abandon();

 private:
  enum class Mode : std::uint8_t { pending, file, mapped, forked };
  struct Mapped {
    Mapped(std::unique_ptr<Attachment> made, const SpinBudget& spin)
        : attachment(std::move(made)), sender(*attachment, spin), receiver(*attachment, spin) {}
    std::unique_ptr<Attachment> attachment;
    MappedSender sender;
    MappedReceiver receiver;
  };

  End(Fd message, std::string mount, std::uint64_t id, unsigned flags);
  // acquire, pairs with settle_mode(): what mapped_ points to.
  [[nodiscard]] Mode mode() const { return mode_.load(std::memory_order_acquire); }
  Status establish(const Wait& wait);
  Status settle_mode();
  // `call(sender)` in the turn of the calling thread, with the sender of the end's mode.
  template <typename Call>
  std::invoke_result_t<Call, FileSender&> sending(const Wait& wait, Call call);
  template <typename Call>
  std::invoke_result_t<Call, FileReceiver&> receiving(const Wait& wait, Call call);
  Status forward_block(End& from, std::uint64_t id, PooledMessage message, const Wait& wait);
  Status control(const char* verb) const;
  [[nodiscard]] std::string file(const char* name) const;

  Fd message_;
  std::string mount_;
  std::uint64_t id_;
  unsigned flags_;
  std::atomic<Mode> mode_ = Mode::pending;
  std::atomic<bool> polled_ = false;
  std::mutex mode_mutex_;
  std::mutex send_mutex_;
  std::mutex receive_mutex_;
  std::atomic<std::size_t> block_least_ = 0;
  FileSender file_sender_;
  FileReceiver file_receiver_;
  std::unique_ptr<Mapped> mapped_;
};

// The value of `key` in a text of `key value` lines; EPROTO where there is no such number.
Result<std::uint64_t> number_of(const std::string& text, const std::string& key);

}  // namespace flowfs::lib
