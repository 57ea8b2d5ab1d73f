// SPDX-License-Identifier: BSD-3-Clause
// Status slots: the truth about ends, in memory only the daemon writes (flowfs/wire.h).
//
// One file a uid, mapped read-only by that uid as users/UID/status. Sealed, so its length is fixed;
// a page is allocated when the first slot in it is.
//
// Threads: one, the loop's. Readers are other processes.
// Owns: the memfd and its mapping. A StatusSlot must not outlive its StatusFile.
// Invariants:
//   1. A slot whose `flow` is not 0 belongs to exactly one StatusSlot.
//   2. The words of a slot are only changed through the setters, each store in an order that lets a
//      reader believe what it read first (struct flowfs_status).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <utility>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "flowfs/wire.h"
#include "pool/segment.hpp"

namespace flowfs::pool {

class StatusSlot;

class StatusFile {
 public:
  static constexpr std::uint32_t kSlots = 65'536;  // slot 0 included: 4 MiB, sparse

  // Errors: those of memfd_create, fallocate and mmap.
  static Result<StatusFile> create(uid_t uid, std::uint32_t slots = kSlots);
  StatusFile(StatusFile&&) noexcept = default;
  StatusFile& operator=(StatusFile&&) noexcept = default;

  // The lowest free slot, in state NONE with an open peer lane. Errors: ENFILE none is free; those
  // of fallocate. The file must not move while slots are out.
  Result<StatusSlot> allocate(std::uint64_t flow);

  [[nodiscard]] const Fd& fd() const { return fd_; }
  [[nodiscard]] std::size_t bytes() const { return mapping_.size(); }
  [[nodiscard]] uid_t uid() const { return uid_; }
  [[nodiscard]] std::uint32_t in_use() const {
    return top_ - 1 - static_cast<std::uint32_t>(free_.size());
  }

 private:
  friend class StatusSlot;
  StatusFile(uid_t uid, Fd fd, Mapping mapping, std::uint32_t slots);
  flowfs_status& at(std::uint32_t slot) const;
  void give_back(std::uint32_t slot);

  uid_t uid_;
  Fd fd_;
  Mapping mapping_;
  std::uint32_t slots_;
  std::uint32_t top_ = 1;         // slots from here on were never used
  std::set<std::uint32_t> free_;  // below top_
  std::size_t populated_;         // bytes
};

// Owns one slot. Move-only; destroying it frees the slot.
class StatusSlot {
 public:
  StatusSlot() = default;
  StatusSlot(StatusSlot&& other) noexcept
      : file_(std::exchange(other.file_, nullptr)), slot_(std::exchange(other.slot_, 0)) {}
  StatusSlot& operator=(StatusSlot&& other) noexcept {
    if (this != &other) {
      reset();
      file_ = std::exchange(other.file_, nullptr);
      slot_ = std::exchange(other.slot_, 0);
    }
    return *this;
  }
  ~StatusSlot() { reset(); }
  void reset();
  explicit operator bool() const { return file_ != nullptr; }

  [[nodiscard]] std::uint32_t index() const { return slot_; }
  [[nodiscard]] uid_t uid() const { return file_->uid(); }

  void set_state(std::uint32_t state);
  void set_peer_state(std::uint32_t state);
  struct Peer {
    std::uint64_t flow = 0;
    uid_t uid = 0;
    gid_t gid = 0;
    pid_t pid = 0;
  };
  void set_peer(const Peer& peer);
  void add_flags(std::uint32_t flags);
  // The pool whose blocks both ends may send each other; 0: none.
  void set_pool(std::uint64_t serial);
  // Where the lane of the peer's present segment ends.
  void close_lane(std::uint64_t hot);
  // The peer has a new segment with an open lane; the lane of the one before ended at `retired_at`.
  void renew_lane(Generation generation, std::uint64_t retired_at);

  // Those of a member of a bus: `taken`, `bell`, `sleep_data`, `sleep_room` and `refused`.
  [[nodiscard]] flowfs_status& bus_words() { return file_->at(slot_); }
  // For those who look from inside the daemon: the loop's own copy is the memory itself.
  [[nodiscard]] const flowfs_status& words() const { return file_->at(slot_); }

 private:
  friend class StatusFile;
  StatusSlot(StatusFile* file, std::uint32_t slot) : file_(file), slot_(slot) {}

  StatusFile* file_ = nullptr;
  std::uint32_t slot_ = 0;
};

}  // namespace flowfs::pool
