// SPDX-License-Identifier: BSD-3-Clause
// Messages as programs hand them over: in pieces, lent to be written, borrowed to be read.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

namespace flowfs::lib {

// What is lent for a message, until it is committed or cancelled. Numbers are never used again
// within a handle.
struct Space {
  std::span<std::byte> bytes;
  std::uint64_t id = 0;
};

// A message where it lies, until it is released. Without bytes: the end of the flow.
struct View {
  std::span<const std::byte> bytes;
  std::uint64_t id = 0;
};

using Pieces = std::span<const iovec>;

inline std::span<std::byte> bytes_of(const iovec& piece) {
  return {static_cast<std::byte*>(piece.iov_base), piece.iov_len};
}

// The largest number where there is no such sum: too long for any message.
inline std::size_t total_bytes(Pieces pieces) {
  std::size_t total = 0;
  for (const iovec& piece : pieces) {
    if (__builtin_add_overflow(total, piece.iov_len, &total)) {
      return std::numeric_limits<std::size_t>::max();
    }
  }
  return total;
}

inline void gather(Pieces from, std::span<std::byte> to) {
  for (const iovec& piece : from) {
    if (piece.iov_len != 0) {
      std::memcpy(to.data(), piece.iov_base, piece.iov_len);
      to = to.subspan(piece.iov_len);
    }
  }
}

// `to` is long enough.
inline void scatter(std::span<const std::byte> from, Pieces to) {
  for (const iovec& piece : to) {
    const std::size_t part = std::min(piece.iov_len, from.size());
    if (part != 0) {
      std::memcpy(piece.iov_base, from.data(), part);
      from = from.subspan(part);
    }
  }
}

}  // namespace flowfs::lib
