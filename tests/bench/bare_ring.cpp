// SPDX-License-Identifier: BSD-3-Clause
#include "bare_ring.hpp"

#include <algorithm>
#include <cstring>

#include "processes.hpp"
#include "shared_memory.hpp"

namespace flowfs::bench {
namespace {

std::size_t record_bytes(std::size_t payload) { return (Ring::kHeader + payload + 15) / 16 * 16; }

// Sleeping as in any such ring: tell, look again, wait; after a change look whether anybody sleeps.
// seq_cst throughout: of a store here and a load there at least one is seen. False: not ready
// after `patience`.
template <typename Ready>
bool wait_until(bool spins, Ring::Sleepers& sleepers, Micros patience, Ready ready) {
  while (!ready()) {
    if (spins) {
      relax();
      continue;
    }
    const std::uint32_t bell = sleepers.bell.load(std::memory_order_seq_cst);
    sleepers.any.store(1, std::memory_order_seq_cst);
    if (!ready() && futex_wait(&sleepers.bell, bell, later(Clock::now(), patience)) ==
                        FutexOutcome::timed_out) {
      return ready();
    }
  }
  return true;
}

void wake(Ring::Sleepers& sleepers) {
  if (sleepers.any.load(std::memory_order_seq_cst) != 0) {
    sleepers.any.store(0, std::memory_order_seq_cst);
    sleepers.bell.fetch_add(1, std::memory_order_seq_cst);
    futex_wake(&sleepers.bell);
  }
}

}  // namespace

// seq_cst, pairs with RingReader::publish().
std::uint64_t RingWriter::slowest() const {
  std::uint64_t least = UINT64_MAX;
  for (const Ring::Cursor& cursor : cursors_) {
    least = std::min(least, cursor.position.load(std::memory_order_seq_cst));
  }
  return least;
}

void RingWriter::send(std::span<const std::byte> message) {
  const std::size_t need = record_bytes(message.size());
  const std::size_t left = Ring::kBytes - written_ % Ring::kBytes;
  const std::size_t padding = need > left ? left : 0;
  // One header more: the commit word behind the record is cleared before the record appears.
  const std::uint64_t end = written_ + padding + need + Ring::kHeader;
  if (end - seen_ > Ring::kBytes) {
    wait_until(spins_, ring_.writer, Micros::max(), [&] {
      seen_ = slowest();
      return end - seen_ <= Ring::kBytes;
    });
  }
  const std::uint64_t at = written_ + padding;
  // relaxed: the commit below publishes it.
  ring_.commit_at(at + need).store(0, std::memory_order_relaxed);
  std::memcpy(&ring_.bytes[at % Ring::kBytes + Ring::kHeader], message.data(), message.size());
  const auto length = static_cast<std::uint32_t>(message.size());
  // seq_cst, pairs with RingReader: the payload, and the look at who sleeps.
  if (padding != 0) {
    ring_.commit_at(at).store(length, std::memory_order_relaxed);
    ring_.commit_at(written_).store(Ring::kPadding, std::memory_order_seq_cst);
  } else {
    ring_.commit_at(at).store(length, std::memory_order_seq_cst);
  }
  written_ = at + need;
  wake(ring_.readers);
}

bool RingReader::receive(std::span<std::byte> message, Micros patience) {
  std::uint32_t length = await_commit(patience);
  if (length == Ring::kPadding) {
    read_ += Ring::kBytes - read_ % Ring::kBytes;
    length = await_commit(patience);
  }
  if (length == 0) {
    return false;
  }
  if (length != message.size()) {
    die("a message of another length");
  }
  std::memcpy(message.data(), &ring_.bytes[read_ % Ring::kBytes + Ring::kHeader], length);
  read_ += record_bytes(length);
  if (read_ - published_ >= Ring::kBytes / 4) {
    publish();
  }
  return true;
}

// 0: there is none.
std::uint32_t RingReader::await_commit(Micros patience) {
  FutexWord& commit = ring_.commit_at(read_);
  std::uint32_t length = 0;
  wait_until(spins_, ring_.readers, patience, [&] {
    // seq_cst, pairs with RingWriter::send(): the payload.
    length = commit.load(std::memory_order_seq_cst);
    return length != 0;
  });
  return length;
}

void RingReader::publish() {
  published_ = read_;
  // seq_cst, pairs with RingWriter::slowest(): nothing before it is read again.
  cursor_.position.store(read_, std::memory_order_seq_cst);
  wake(ring_.writer);
}

}  // namespace flowfs::bench
