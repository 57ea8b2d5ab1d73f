// SPDX-License-Identifier: BSD-3-Clause
// What the fuzzers of shared memory have in common.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
  // A few bytes of the input, anywhere.
  void scribble(FuzzedDataProvider& input) const {
    const auto data =
        input.ConsumeBytes<std::uint8_t>(input.ConsumeIntegralInRange<std::size_t>(1, 64));
    const auto at =
        input.ConsumeIntegralInRange<std::size_t>(0, size_ - std::max<std::size_t>(data.size(), 1));
    std::ranges::copy(std::as_bytes(std::span(data)), data_.get() + at);
  }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> data_;
  std::size_t size_;
};

}  // namespace flowfs::fuzz
