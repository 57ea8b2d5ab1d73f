// SPDX-License-Identifier: BSD-3-Clause
// What the fuzzers of shared memory have in common.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

namespace flowfs::fuzz {

inline void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

// Zeros, on the heap, so that AddressSanitizer knows where they end.
class Memory {
 public:
  explicit Memory(std::size_t size)
      : data_(static_cast<std::byte*>(std::aligned_alloc(4'096, size)), &std::free), size_(size) {
    std::memset(data_.get(), 0, size);
  }
  [[nodiscard]] std::span<std::byte> bytes() const { return {data_.get(), size_}; }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> data_;
  std::size_t size_;
};

}  // namespace flowfs::fuzz
