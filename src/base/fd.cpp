// SPDX-License-Identifier: BSD-3-Clause
#include "base/fd.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

namespace flowfs {
namespace {

// MFD_NOEXEC_SEAL of <linux/memfd.h>, which older headers lack.
constexpr unsigned kNoExecSeal = 0x0008U;

int create_memfd(const char* name) {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  const int fd = ::memfd_create(name, flags | kNoExecSeal);
  if (fd >= 0 || errno != EINVAL) {
    return fd;
  }
  return ::memfd_create(name,
                        flags);  // before Linux 6.3; the mode set below is not executable either
}

}  // namespace

void Fd::reset() {
  if (fd_ >= 0) {
    ::close(std::exchange(fd_, -1));
  }
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

Result<Mapping> Mapping::map(const Fd& fd, std::size_t bytes, Access access) {
  const int protection = access == Access::read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  void* data = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) {
    return fail_errno("mmap");
  }
  Mapping mapping;
  mapping.data_ = static_cast<std::byte*>(data);
  mapping.bytes_ = bytes;
  // Clients' contents have no place in a core dump, nor in a child between fork and exec.
  if (::madvise(data, bytes, MADV_DONTDUMP) != 0 || ::madvise(data, bytes, MADV_DONTFORK) != 0) {
    return fail_errno("madvise");
  }
  return mapping;
}

void Mapping::reset() {
  if (data_ != nullptr) {
    ::munmap(std::exchange(data_, nullptr), std::exchange(bytes_, 0));
  }
}

Result<Fd> make_sealed_memfd(const char* name, std::size_t bytes, std::size_t populate) {
  if (populate > bytes) {
    return fail(EINVAL, "memfd populate");
  }
  Fd fd(create_memfd(name));
  if (!fd) {
    return fail_errno("memfd_create");
  }
  if (::fchmod(fd.get(), S_IRUSR | S_IWUSR) != 0) {
    return fail_errno("memfd fchmod");
  }
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return fail_errno("memfd ftruncate");
  }
  if (populate > 0 && ::fallocate(fd.get(), 0, 0, static_cast<off_t>(populate)) != 0) {
    return fail_errno("memfd fallocate");
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail_errno("memfd seal");
  }
  return fd;
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) {
    return fail_errno("open");
  }
  std::string text;
  std::array<char, 4096> chunk{};
  while (true) {
    const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return fail_errno("read");
    }
    if (got == 0) {
      return text;
    }
    if (static_cast<std::size_t>(got) > limit - text.size()) {
      return fail(EFBIG, "read");
    }
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace flowfs
