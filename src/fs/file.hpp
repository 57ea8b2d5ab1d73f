// SPDX-License-Identifier: BSD-3-Clause
// An open file description of the tree: one class for each way a file behaves.
//
// Each operation answers its request exactly once, now or later (by parking it).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>

#include "fs/node.hpp"
#include "fs/request.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

class Replies;
class Pollers;

// What a READ or WRITE says beside its bytes.
struct Transfer {
  std::uint64_t offset = 0;
  int flags = 0;               // of the description now (F_SETFL)
  bool through_cache = false;  // splice, sendfile: not read(2)
};

class File {
 public:
  File(Replies& replies, Node node, int flags) : replies_(replies), node_(node), flags_(flags) {}
  virtual ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // The defaults: reads and writes EINVAL, always ready, ioctl ENOTTY, flush succeeds.
  virtual void read(Request request, std::size_t size, const Transfer& transfer);
  virtual void write(Request request, std::span<const std::byte> data, const Transfer& transfer);
  virtual void ioctl(Request request, unsigned command, std::span<const std::byte> in,
                     std::size_t out_size);
  virtual void flush(Request request, std::uint64_t lock_owner);
  // Ready events now, as poll(2) names them.
  virtual unsigned ready();
  // Whether it can be locked (flock, fcntl); else ENOLCK.
  [[nodiscard]] virtual bool has_locks() const { return false; }
  // Somebody began to wait for `ready()` to change.
  virtual void watched() {}

  // Keeps the kernel's handle for telling it that `ready()` may have changed. Owns `handle`.
  void watch(fuse_pollhandle* handle);
  // Tells the kernel, once for each time it asked.
  void notify();
  [[nodiscard]] bool is_watched() const { return poll_ != nullptr; }

  [[nodiscard]] Node node() const { return node_; }
  // The flags of open(2), without what F_SETFL changed since.
  [[nodiscard]] int flags() const { return flags_; }
  void keep(registry::Charge charge) { charge_ = std::move(charge); }

 protected:
  Replies& replies_;

 private:
  Node node_;
  int flags_;
  registry::Charge charge_;  // Resource::descriptors
  fuse_pollhandle* poll_ = nullptr;
  bool told_ = false;
};

}  // namespace flowfs::fs
