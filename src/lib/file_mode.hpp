// SPDX-License-Identifier: BSD-3-Clause
// The two directions of an end in file mode: read and write, with the calls of the mapped ones.
// What is lent and borrowed are buffers of this process.
//
// Threads: one at a time in each direction; the two directions at once.
// Errors: as flowfs.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/result.hpp"
#include "lib/packet.hpp"
#include "lib/sides.hpp"
#include "lib/wait.hpp"

namespace flowfs::lib {

// Waits until poll(2) reports something of `events`. Errors: EAGAIN, ETIMEDOUT; those of poll.
Status poll_for(int fd, short events, const Wait& wait);

// Memory by number. One that is given back is kept for the next.
class Buffers {
 public:
  struct Buffer {
    std::unique_ptr<std::byte[]> data;
    std::size_t room = 0;
    std::size_t used = 0;
  };
  // Not initialised; `used` is `bytes`.
  Buffer make(std::size_t bytes);
  // Grown to at least `bytes`, without what it holds.
  static void grow(Buffer& buffer, std::size_t bytes);
  std::uint64_t keep(Buffer buffer);
  [[nodiscard]] std::span<std::byte> find(std::uint64_t id) const;  // none: empty
  void drop(std::uint64_t id);
  void reuse(Buffer buffer) { spare_ = std::move(buffer); }

 private:
  std::map<std::uint64_t, Buffer> kept_;
  std::uint64_t last_id_ = 0;
  Buffer spare_;
};

class FileSender final : public Sender {
 public:
  // Which file tells the mtu: the line of `key`, once and for all; without a key the whole file,
  // which may change.
  struct Mtu {
    std::string file;
    std::string key;
  };
  FileSender(int fd, Mtu mtu) : fd_(fd), mtu_(std::move(mtu)) {}
  Status send(std::span<const std::byte> message, const Wait& wait) override;
  Status send(Pieces message, const Wait& wait) override;
  Result<std::size_t> send_many(Pieces messages, const Wait& wait) override;
  Result<Space> loan(std::size_t bytes, std::size_t block_least, const Wait& wait) override;
  Status commit(std::uint64_t id, std::size_t bytes, const Wait& wait) override;
  Status cancel(std::uint64_t id) override;
  // Never takes the block.
  Result<bool> send_block(PooledMessage& message, const Wait& wait) override;

 private:
  // As in the memory of a mapped flow, there is one space at a time, and nothing passes it.
  struct Loan {
    Buffers::Buffer buffer;
    std::uint64_t id;
  };
  [[nodiscard]] Status ready_to_send() const;
  Status put(std::span<const std::byte> message, const Wait& wait) const;
  std::size_t longest();
  void end_loan();

  int fd_;
  Mtu mtu_;
  std::size_t longest_ = 0;  // the mtu, once it was asked for, where it never changes
  Buffers buffers_;
  std::optional<Loan> loan_;
  std::uint64_t last_id_ = 0;
};

class FileReceiver final : public Receiver {
 public:
  explicit FileReceiver(int fd) : fd_(fd) {}
  Result<std::size_t> receive(Pieces into, const Wait& wait) override;
  Result<std::size_t> receive_many(std::span<iovec> into, const Wait& wait) override;
  Result<View> borrow(const Wait& wait) override;
  Status release(std::uint64_t id) override;
  [[nodiscard]] std::optional<View> find_view(std::uint64_t id) const override;
  Result<std::uint64_t> skip() override;

 private:
  Result<std::size_t> receive(std::span<std::byte> into, const Wait& wait) const;

  int fd_;
  Buffers buffers_;
};

}  // namespace flowfs::lib
