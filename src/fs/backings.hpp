// SPDX-License-Identifier: BSD-3-Clause
// Memory files that the kernel maps in place of files of the tree (FUSE passthrough); and which way
// programs come to that memory at all.
//
// Threads: the loop's.
// Errors: EOPNOTSUPP where the kernel cannot or the mount is rootless; those of the ioctl.
#pragma once

#include <utility>

#include "base/result.hpp"

namespace flowfs::fs {

class Backings;

// One registration; the kernel keeps the memory as long as it lasts or a file is open on it.
// Move-only.
class [[nodiscard]] Backing {
 public:
  Backing() = default;
  Backing(Backing&& other) noexcept
      : backings_(std::exchange(other.backings_, nullptr)), id_(std::exchange(other.id_, 0)) {}
  Backing& operator=(Backing&& other) noexcept {
    if (this != &other) {
      reset();
      backings_ = std::exchange(other.backings_, nullptr);
      id_ = std::exchange(other.id_, 0);
    }
    return *this;
  }
  ~Backing() { reset(); }
  void reset();
  explicit operator bool() const { return id_ > 0; }
  [[nodiscard]] int id() const { return id_; }

 private:
  friend class Backings;
  Backing(Backings* backings, int id) : backings_(backings), id_(id) {}
  Backings* backings_ = nullptr;
  int id_ = 0;
};

class Backings {
 public:
  // The FUSE device while the mount lives and agreed to passthrough, else -1.
  void set_device(int fd) { device_ = fd; }
  // There is none of that; memory is handed out over the socket beside the mount
  // (memory_socket.hpp), and its descriptor stays open for that.
  void set_handed_out(bool handed_out) { handed_out_ = handed_out; }
  [[nodiscard]] bool handed_out() const { return handed_out_; }
  // Whether programs can come to memory in either way.
  [[nodiscard]] bool available() const { return device_ >= 0 || handed_out_; }
  // `memory` may be closed afterwards.
  Result<Backing> add(int memory);

 private:
  friend class Backing;
  int device_ = -1;
  bool handed_out_ = false;
};

}  // namespace flowfs::fs
