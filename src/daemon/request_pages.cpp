// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/request_pages.hpp"

#include <fmt/format.h>

#include <charconv>

#include "base/fd.hpp"
#include "fs/server.hpp"

namespace flowfs::daemon {

std::size_t kernel_request_pages() {
  std::size_t pages = 256;
  if (const Result<std::string> text = read_file("/proc/sys/fs/fuse/max_pages_limit")) {
    std::from_chars(text->data(), text->data() + text->size(), pages);
  }
  return pages;
}

std::optional<std::string> lacks_pages(std::size_t longest_message_bytes, std::size_t pages) {
  const std::size_t needed = fs::request_pages(longest_message_bytes);
  if (pages >= needed) {
    return std::nullopt;
  }
  return fmt::format(
      "daemon.longest_message = {} needs requests of {} pages, and this kernel allows {}: "
      "sysctl fs.fuse.max_pages_limit={} (Linux 6.13 or later), or a smaller one",
      longest_message_bytes, needed, pages, needed);
}

}  // namespace flowfs::daemon
