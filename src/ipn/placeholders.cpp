// SPDX-License-Identifier: BSD-3-Clause
#include "ipn/placeholders.hpp"

#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/fd.hpp"
#include "ipn/real.hpp"

namespace flowfs::ipn {
namespace {

// 0: no socket.
ino_t socket_inode(int fd) {
  struct stat found{};
  return fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode) ? found.st_ino : 0;
}

}  // namespace

Result<int> Placeholders::make(int protocol, int type_flags) {
  Fd socket(real().socket(AF_UNIX, SOCK_SEQPACKET | type_flags, 0));
  if (!socket) {
    return fail_errno("socket");
  }
  const std::lock_guard lock(mutex_);
  entries_[socket.get()] = {.inode = socket_inode(socket.get()),
                            .placeholder = {.protocol = protocol, .folder = {}, .options = {}}};
  return socket.release();
}

Placeholders::Entry* Placeholders::entry_of(int fd) {
  if (entries_.empty()) {
    return nullptr;
  }
  const ino_t inode = socket_inode(fd);
  const auto found = std::ranges::find_if(
      entries_, [&](const auto& entry) { return inode != 0 && entry.second.inode == inode; });
  return found == entries_.end() ? nullptr : &found->second;
}

bool Placeholders::find(int fd, Placeholder& found) {
  const std::lock_guard lock(mutex_);
  const Entry* const entry = entry_of(fd);
  if (entry != nullptr) {
    found = entry->placeholder;
  }
  return entry != nullptr;
}

void Placeholders::change(int fd, const std::function<void(Placeholder&)>& with) {
  const std::lock_guard lock(mutex_);
  if (Entry* const entry = entry_of(fd); entry != nullptr) {
    with(entry->placeholder);
  }
}

}  // namespace flowfs::ipn
