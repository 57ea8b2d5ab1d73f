// SPDX-License-Identifier: BSD-3-Clause
#include "pool/status.hpp"

#include <fcntl.h>

#include <algorithm>

#include "pool/shared.hpp"

namespace flowfs::pool {

namespace {

constexpr std::size_t kPage = 4096;

}  // namespace

StatusFile::StatusFile(uid_t uid, Fd fd, Mapping mapping, std::uint32_t slots)
    : uid_(uid),
      fd_(std::move(fd)),
      mapping_(std::move(mapping)),
      slots_(slots),
      populated_(std::min(kPage, mapping_.size())) {}

Result<StatusFile> StatusFile::create(uid_t uid, std::uint32_t slots) {
  const std::size_t wanted = std::size_t{slots} * sizeof(flowfs_status);
  const std::size_t bytes = (wanted + kPage - 1) / kPage * kPage;
  auto fd = make_sealed_memfd("flowfs-status", bytes, kPage);
  if (!fd) {
    return std::unexpected(fd.error());
  }
  auto mapping = Mapping::map(*fd, bytes, Mapping::Access::read_write);
  if (!mapping) {
    return std::unexpected(mapping.error());
  }
  auto& header = *reinterpret_cast<flowfs_status_header*>(mapping->data());
  header.version = FLOWFS_LAYOUT_VERSION;
  header.slot_bytes = sizeof(flowfs_status);
  header.slots = slots;
  header.uid = uid;
  // release, pairs with the acquire load of whoever maps the file: the rest of the header is there.
  shared(header.magic).store(FLOWFS_STATUS_MAGIC, std::memory_order_release);
  return StatusFile(uid, std::move(*fd), std::move(*mapping), slots);
}

Result<StatusSlot> StatusFile::allocate(std::uint64_t flow) {
  std::uint32_t slot = top_;
  if (!free_.empty()) {
    slot = *free_.begin();
    free_.erase(free_.begin());
  } else {
    if (top_ == slots_) {
      return fail(ENFILE, "status slots");
    }
    const std::size_t end = (std::size_t{top_} + 1) * sizeof(flowfs_status);
    if (end > populated_) {
      // Allocated here, so that a full machine is an error and not a SIGBUS.
      if (::fallocate(fd_.get(), 0, static_cast<off_t>(populated_), kPage) != 0) {
        return fail_errno("fallocate(status)");
      }
      populated_ += kPage;
    }
    ++top_;
  }
  flowfs_status& words = at(slot);
  shared(words.closed_at).store(FLOWFS_LANE_OPEN, std::memory_order_relaxed);
  shared(words.retired_at).store(FLOWFS_LANE_OPEN, std::memory_order_relaxed);
  // release: whoever finds its own number sees a slot that is clean.
  shared(words.flow).store(flow, std::memory_order_release);
  return StatusSlot(this, slot);
}

flowfs_status& StatusFile::at(std::uint32_t slot) const {
  return reinterpret_cast<flowfs_status*>(mapping_.data())[slot];
}

void StatusFile::give_back(std::uint32_t slot) {
  flowfs_status& words = at(slot);
  // release: the owner, if it still looks, sees that the slot is no longer its own before anything
  // else in it changes.
  shared(words.flow).store(0, std::memory_order_release);
  constexpr auto kRelease = std::memory_order_release;
  shared(words.state).store(FLOWFS_STATE_NONE, kRelease);
  shared(words.peer_state).store(FLOWFS_STATE_NONE, kRelease);
  shared(words.peer_generation).store(0, kRelease);
  shared(words.flags).store(0, kRelease);
  shared(words.peer_flow).store(0, kRelease);
  shared(words.peer_uid).store(0, kRelease);
  shared(words.peer_gid).store(0, kRelease);
  shared(words.peer_pid).store(0, kRelease);
  shared(words.pool).store(0, kRelease);
  shared(words.taken.generation).store(0, kRelease);
  shared(words.sleep_data).store(0, kRelease);
  shared(words.sleep_room).store(0, kRelease);
  shared(words.refused).store(0, kRelease);
  free_.insert(slot);
}

void StatusSlot::reset() {
  if (file_ != nullptr) {
    std::exchange(file_, nullptr)->give_back(std::exchange(slot_, 0));
  }
}

// All stores below are seq_cst unless said otherwise: an end that is about to sleep stores its
// epoch and then looks at its slot, the daemon stores into the slot and then rings (pool/bell.hpp).

void StatusSlot::set_state(std::uint32_t state) {
  shared(file_->at(slot_).state).store(state, std::memory_order_seq_cst);
}

void StatusSlot::set_peer_state(std::uint32_t state) {
  shared(file_->at(slot_).peer_state).store(state, std::memory_order_seq_cst);
}

void StatusSlot::set_peer(const Peer& peer) {
  flowfs_status& words = file_->at(slot_);
  // relaxed: set before the end can attach, constant from then on.
  constexpr auto kRelaxed = std::memory_order_relaxed;
  shared(words.peer_flow).store(peer.flow, kRelaxed);
  shared(words.peer_uid).store(peer.uid, kRelaxed);
  shared(words.peer_gid).store(peer.gid, kRelaxed);
  shared(words.peer_pid).store(static_cast<std::uint32_t>(peer.pid), kRelaxed);
}

void StatusSlot::add_flags(std::uint32_t flags) {
  shared(file_->at(slot_).flags).fetch_or(flags, std::memory_order_seq_cst);
}

// A sender publishes a record and then looks at the slot; the daemon stores here and then looks at
// the lane. One of them sees the other.
void StatusSlot::set_pool(std::uint64_t serial) {
  shared(file_->at(slot_).pool).store(serial, std::memory_order_seq_cst);
}

void StatusSlot::close_lane(std::uint64_t hot) {
  shared(file_->at(slot_).closed_at).store(hot, std::memory_order_seq_cst);
}

void StatusSlot::renew_lane(Generation generation, std::uint64_t retired_at) {
  flowfs_status& words = file_->at(slot_);
  // In this order: a reader that finds the new generation finds its lane open and where the old one
  // ended. One that finds the old generation twice may think its lane open once more; it looks
  // again before it sleeps, and what it could read meanwhile only the owner of the old lane can
  // have written.
  shared(words.closed_at).store(FLOWFS_LANE_OPEN, std::memory_order_seq_cst);
  shared(words.retired_at).store(retired_at, std::memory_order_seq_cst);
  shared(words.peer_generation).store(std::to_underlying(generation), std::memory_order_seq_cst);
}

}  // namespace flowfs::pool
