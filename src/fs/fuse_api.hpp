// SPDX-License-Identifier: BSD-3-Clause
// The one place that includes libfuse, with the protocol constants older kernel headers lack.
#pragma once

#define FUSE_USE_VERSION 317
#include <fuse_lowlevel.h>
#include <linux/fuse.h>

#include <cstdint>

namespace flowfs::fs {

// Of <linux/fuse.h>, from protocol 7.38 and 7.40 on.
inline constexpr std::uint32_t kOpenParallelDirectWrites = 1U << 6;

}  // namespace flowfs::fs
