// SPDX-License-Identifier: BSD-3-Clause
#include "fs/request.hpp"

namespace flowfs::fs {

std::string_view to_string(Op op) {
  static constexpr std::array<std::string_view, kOps> kNames{
      "lookup",      "getattr", "setattr", "readlink", "mknod",    "mkdir",    "unlink",
      "rmdir",       "symlink", "rename",  "link",     "open",     "read",     "write",
      "flush",       "release", "opendir", "readdir",  "setxattr", "getxattr", "listxattr",
      "removexattr", "create",  "lock",    "ioctl",    "poll",     "memory",   "vde"};
  return kNames.at(static_cast<std::size_t>(op));
}

}  // namespace flowfs::fs
