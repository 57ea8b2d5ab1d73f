// SPDX-License-Identifier: BSD-3-Clause
// The sockets of this process that are no member of a bus yet.
//
// Shape: until connect puts the open `bus` file in its place, a socket is one of AF_UNIX which is
// connected to nothing. So the kernel itself answers what such a socket should: ENOTCONN, POLLHUP,
// and a flag set on it stays. What bind, setsockopt and shutdown said is kept here, by the inode of
// that socket; a dup of it is the same socket. Whatever is closed need not be told: the number is
// looked at again before it is believed. An entry stays until its descriptor number is used again.
// After exec only the AF_UNIX socket is left.
//
// Threads: any. Not safe in a signal handler.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "base/result.hpp"
#include "ipn/bus_options.hpp"

namespace flowfs::ipn {

struct Placeholder {
  int protocol = 0;
  std::string folder;  // of the bus that bind made or manages; empty: not bound
  Options options;
  // Whether it will be joined with that direction: not where shutdown came first.
  bool receives = true;
  bool sends = true;
};

class Placeholders {
 public:
  // The descriptor. `type_flags`: SOCK_CLOEXEC, SOCK_NONBLOCK. Errors: those of socket.
  Result<int> make(int protocol, int type_flags);

  // Whether `fd` is one; then a copy of what is known about it.
  bool find(int fd, Placeholder& found);
  // Changes what is known about it; nothing where it is none.
  void change(int fd, const std::function<void(Placeholder&)>& with);

 private:
  struct Entry {
    ino_t inode = 0;
    Placeholder placeholder;
  };
  Entry* entry_of(int fd);

  std::mutex mutex_;
  std::map<int, Entry> entries_;  // by the descriptor that socket gave
};

}  // namespace flowfs::ipn
