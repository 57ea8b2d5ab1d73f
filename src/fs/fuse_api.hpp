// SPDX-License-Identifier: BSD-3-Clause
// The one place that includes libfuse, with the protocol constants older kernel headers lack.
#pragma once

#define FUSE_USE_VERSION 317
#include <fuse_lowlevel.h>
#include <linux/fuse.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace flowfs::fs {

// Of <linux/fuse.h>, from protocol 7.38 and 7.40 on.
inline constexpr std::uint32_t kOpenParallelDirectWrites = 1U << 6;

// The header of a whole request as it was read; what a short one lacks is zero.
inline fuse_in_header header_of(std::span<const std::byte> request) {
  fuse_in_header header{};
  std::memcpy(&header, request.data(), std::min(sizeof header, request.size()));
  return header;
}

}  // namespace flowfs::fs
