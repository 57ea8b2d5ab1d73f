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

#include "base/fd.hpp"
#include "base/result.hpp"
#include "flowfs/flowfs.h"
#include "lib/mapped.hpp"

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
  Result<std::size_t> receive(std::span<std::byte> into, const Wait& wait);
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
  Status file_send(std::span<const std::byte> message, const Wait& wait);
  Result<std::size_t> file_receive(std::span<std::byte> into, const Wait& wait);
  Status poll_message(short events, const Wait& wait) const;
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
  std::unique_ptr<Mapped> mapped_;
};

// The value of `key` in a text of `key value` lines; EPROTO where there is no such number.
Result<std::uint64_t> number_of(const std::string& text, const std::string& key);

}  // namespace flowfs::lib
