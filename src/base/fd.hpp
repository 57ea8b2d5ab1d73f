// SPDX-License-Identifier: BSD-3-Clause
// Owners of file descriptors and of mappings.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "base/result.hpp"

namespace flowfs {

// Owns one descriptor; -1 is empty. Move-only.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

// Owns one shared mapping. Move-only. The address is stable across moves.
class Mapping {
 public:
  enum class Access { read_only, read_write };

  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping() { reset(); }

  // Maps the first `bytes` of `fd` shared. The daemon's mappings are MADV_DONTDUMP and
  // MADV_DONTFORK. Errors: those of mmap.
  static Result<Mapping> map(const Fd& fd, std::size_t bytes, Access access);

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return bytes_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return {data_, bytes_}; }
  explicit operator bool() const { return data_ != nullptr; }
  void reset();

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// A sealed memfd: `bytes` long, owned by the caller's uid, mode 0600, no-exec, sealed
// SHRINK|GROW|SEAL. The first `populate` bytes are allocated at once (so that a full machine is an
// error here and not a SIGBUS later); the rest is sparse.
Result<Fd> make_sealed_memfd(const char* name, std::size_t bytes, std::size_t populate);

// The whole of a small file (procfs, sysctl, configuration). Errors: those of open and read; EFBIG
// past `limit`.
Result<std::string> read_file(const std::string& path, std::size_t limit = 1 << 20);

}  // namespace flowfs
