// SPDX-License-Identifier: BSD-3-Clause
// Whether the kernel's requests are long enough for the longest message that is wanted.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace flowfs::daemon {

// fs.fuse.max_pages_limit; what it always was where the kernel has no such setting.
std::size_t kernel_request_pages();

// What to do about it where `pages` are too few, in words.
std::optional<std::string> lacks_pages(std::size_t longest_message_bytes, std::size_t pages);

}  // namespace flowfs::daemon
