// SPDX-License-Identifier: BSD-3-Clause
// The functions that programs call instead of those of the C library. Each asks first whether it is
// about IPN at all, at the price of a system call that fails or of a look at an empty table.
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "flowfs/af_ipn.h"
#include "ipn/bus_path.hpp"
#include "ipn/membership.hpp"
#include "ipn/placeholders.hpp"
#include "ipn/real.hpp"

#define FLOWFS_INTERPOSED extern "C" __attribute__((visibility("default")))

using flowfs::fail;
using flowfs::Result;
using flowfs::Status;
using flowfs::ipn::Placeholder;
using flowfs::ipn::real;

namespace {

constexpr int kTypeFlags = SOCK_CLOEXEC | SOCK_NONBLOCK;

// Never destroyed: other destructors may still use sockets.
flowfs::ipn::Placeholders& placeholders() {
  static auto& made = *new flowfs::ipn::Placeholders;  // NOLINT(cppcoreguidelines-owning-memory)
  return made;
}

// The value, or -1 and errno. Nothing is thrown across the C functions.
template <typename Value, typename Function>
Value guarded(const Function& function) {
  try {
    const auto result = function();
    if (!result) {
      errno = result.error().error;
      return -1;
    }
    if constexpr (std::is_same_v<std::remove_const_t<decltype(result)>, Status>) {
      return 0;
    } else {
      return static_cast<Value>(*result);
    }
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  } catch (const std::exception&) {
    errno = EIO;
  }
  return -1;
}

bool is_placeholder(int fd, Placeholder& found) {
  return guarded<int>([&] { return Result<int>(placeholders().find(fd, found) ? 1 : 0); }) == 1;
}

// After a call has failed: whether that was because `fd` is a bus and no socket. Keeps errno.
bool is_member(int fd, std::string& folder) {
  const int error = errno;
  if (error != ENOTSOCK) {
    return false;
  }
  const auto found = flowfs::ipn::bus_of_descriptor(fd);
  folder = found.value_or("");
  errno = error;
  return found.has_value();
}

bool is_member(int fd) {
  std::string folder;
  return is_member(fd, folder);
}

Result<int> make_socket(int type, int protocol) {
  if ((type & ~kTypeFlags) != SOCK_RAW) {
    return fail(ESOCKTNOSUPPORT, "only SOCK_RAW");
  }
  if (protocol != IPN_ANY && protocol != IPN_BROADCAST && protocol != IPN_VDESWITCH) {
    return fail(EPROTONOSUPPORT, "a protocol that buses do not have");
  }
  return placeholders().make(protocol, type & kTypeFlags);
}

Status put_option(int value, void* to, socklen_t* bytes) {
  if (to == nullptr || bytes == nullptr) {
    return fail(EFAULT, "no place for the value");
  }
  *bytes = std::min<socklen_t>(*bytes, sizeof value);
  std::memcpy(to, &value, *bytes);
  return {};
}

Result<int> take_option(const void* from, socklen_t bytes) {
  int value = 0;
  if (from == nullptr || bytes < sizeof value) {
    return fail(from == nullptr ? EFAULT : EINVAL, "not an int");
  }
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Of a socket that is not connected.
Result<int> placeholder_option(const Placeholder& socket, int option) {
  if (option == IPN_SO_PORT) {
    return IPN_PORTNO_ANY;
  }
  if (!socket.folder.empty()) {
    return flowfs::ipn::read_option(socket.folder, option);
  }
  const auto asked = socket.options.find(option);
  return asked != socket.options.end() ? Result<int>(asked->second)
                                       : fail(ENOTCONN, "not bound, and not asked for");
}

Status set_option(int fd, const Placeholder& socket, int option, int value) {
  if (option == IPN_SO_PORT) {
    return value == IPN_PORTNO_ANY ? Status() : fail(EADDRNOTAVAIL, "the daemon numbers ports");
  }
  if (const Status good = flowfs::ipn::check_option(option, value); !good) {
    return good;
  }
  if ((option & IPN_SO_PREBIND) == 0) {
    return socket.folder.empty() ? fail(ENOTCONN, "not bound")
                                 : flowfs::ipn::write_option(socket.folder, option, value);
  }
  if (!socket.folder.empty()) {
    return fail(EISCONN, "bound already");
  }
  placeholders().change(fd, [&](Placeholder& known) { known.options[option] = value; });
  return {};
}

// Before connect: what is joined later is joined without the direction.
Status shut_down_early(int fd, int how) {
  const Status good = flowfs::ipn::check_directions(how);
  if (good) {
    placeholders().change(fd, [&](Placeholder& known) {
      known.receives = known.receives && how == SHUT_WR;
      known.sends = known.sends && how == SHUT_RD;
    });
  }
  return good;
}

Status set_member_option(const std::string& folder, int level, int option, int value) {
  if (level != 0) {
    return fail(ENOPROTOOPT, "a level that a bus has not");
  }
  if (option == IPN_SO_PORT || (option & IPN_SO_PREBIND) != 0) {
    return fail(EISCONN, "connected already");
  }
  const Status good = flowfs::ipn::check_option(option, value);
  return good ? flowfs::ipn::write_option(folder, option, value) : good;
}

ssize_t send_one(int fd, const void* bytes, size_t count, int flags, const void* address) {
  // NOLINTBEGIN(cppcoreguidelines-pro-type-const-cast): a msghdr is for both ways; this one is
  // read.
  iovec piece{.iov_base = const_cast<void*>(bytes), .iov_len = count};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_name = const_cast<void*>(address);
  // NOLINTEND(cppcoreguidelines-pro-type-const-cast)
  return guarded<ssize_t>([&] { return flowfs::ipn::send_message(fd, message, flags); });
}

ssize_t receive_one(int fd, void* bytes, size_t count, int flags, socklen_t* address_bytes) {
  iovec piece{.iov_base = bytes, .iov_len = count};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (address_bytes != nullptr) {
    *address_bytes = 0;
  }
  return guarded<ssize_t>([&] { return flowfs::ipn::receive_message(fd, message, flags); });
}

}  // namespace

FLOWFS_INTERPOSED int socket(int domain, int type, int protocol) noexcept {
  return domain == AF_IPN ? guarded<int>([&] { return make_socket(type, protocol); })
                          : real().socket(domain, type, protocol);
}

FLOWFS_INTERPOSED int bind(int fd, const sockaddr* address, socklen_t bytes) noexcept {
  if (Placeholder known; is_placeholder(fd, known)) {
    return guarded<int>([&]() -> Status {
      const Result<std::string> folder = flowfs::ipn::bind_bus(known, address, bytes);
      if (!folder) {
        return std::unexpected(folder.error());
      }
      placeholders().change(fd, [&](Placeholder& changed) { changed.folder = *folder; });
      return {};
    });
  }
  const int result = real().bind(fd, address, bytes);
  if (result != 0 && is_member(fd)) {
    errno = EINVAL;
  }
  return result;
}

FLOWFS_INTERPOSED int connect(int fd, const sockaddr* address, socklen_t bytes) {
  if (Placeholder known; is_placeholder(fd, known)) {
    return guarded<int>([&] { return flowfs::ipn::connect_bus(fd, known, address, bytes); });
  }
  const int result = real().connect(fd, address, bytes);
  if (result != 0 && is_member(fd)) {
    errno = EISCONN;
  }
  return result;
}

FLOWFS_INTERPOSED int shutdown(int fd, int how) noexcept {
  if (Placeholder known; is_placeholder(fd, known)) {
    return guarded<int>([&] { return shut_down_early(fd, how); });
  }
  const int result = real().shutdown(fd, how);
  if (std::string folder; result != 0 && is_member(fd, folder)) {
    return guarded<int>([&] { return flowfs::ipn::shut_down(fd, folder, how); });
  }
  return result;
}

FLOWFS_INTERPOSED int getsockopt(int fd, int level, int option, void* value,
                                 socklen_t* bytes) noexcept {
  const auto give = [&](const Result<int>& found) {
    return found ? put_option(*found, value, bytes) : std::unexpected(found.error());
  };
  if (Placeholder known; level == 0 && is_placeholder(fd, known)) {
    return guarded<int>([&] { return give(placeholder_option(known, option)); });
  }
  const int result = real().getsockopt(fd, level, option, value, bytes);
  if (std::string folder; result != 0 && is_member(fd, folder)) {
    return guarded<int>(
        [&] { return give(flowfs::ipn::member_option(fd, folder, level, option)); });
  }
  return result;
}

FLOWFS_INTERPOSED int setsockopt(int fd, int level, int option, const void* value,
                                 socklen_t bytes) noexcept {
  if (Placeholder known; level == 0 && is_placeholder(fd, known)) {
    return guarded<int>([&] {
      const Result<int> wanted = take_option(value, bytes);
      return wanted ? set_option(fd, known, option, *wanted) : std::unexpected(wanted.error());
    });
  }
  const int result = real().setsockopt(fd, level, option, value, bytes);
  if (std::string folder; result != 0 && is_member(fd, folder)) {
    return guarded<int>([&] {
      const Result<int> wanted = take_option(value, bytes);
      return wanted ? set_member_option(folder, level, option, *wanted)
                    : std::unexpected(wanted.error());
    });
  }
  return result;
}

FLOWFS_INTERPOSED ssize_t send(int fd, const void* bytes, size_t count, int flags) {
  const ssize_t sent = real().send(fd, bytes, count, flags);
  return sent < 0 && is_member(fd) ? send_one(fd, bytes, count, flags, nullptr) : sent;
}

FLOWFS_INTERPOSED ssize_t sendto(int fd, const void* bytes, size_t count, int flags,
                                 const sockaddr* address, socklen_t address_bytes) {
  const ssize_t sent = real().sendto(fd, bytes, count, flags, address, address_bytes);
  return sent < 0 && is_member(fd) ? send_one(fd, bytes, count, flags, address) : sent;
}

FLOWFS_INTERPOSED ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  const ssize_t sent = real().sendmsg(fd, message, flags);
  if (sent < 0 && is_member(fd)) {
    return guarded<ssize_t>([&] { return flowfs::ipn::send_message(fd, *message, flags); });
  }
  return sent;
}

FLOWFS_INTERPOSED ssize_t recv(int fd, void* bytes, size_t count, int flags) {
  const ssize_t got = real().recv(fd, bytes, count, flags);
  return got < 0 && is_member(fd) ? receive_one(fd, bytes, count, flags, nullptr) : got;
}

FLOWFS_INTERPOSED ssize_t recvfrom(int fd, void* bytes, size_t count, int flags, sockaddr* address,
                                   socklen_t* address_bytes) {
  const ssize_t got = real().recvfrom(fd, bytes, count, flags, address, address_bytes);
  return got < 0 && is_member(fd) ? receive_one(fd, bytes, count, flags, address_bytes) : got;
}

FLOWFS_INTERPOSED ssize_t recvmsg(int fd, msghdr* message, int flags) {
  const ssize_t got = real().recvmsg(fd, message, flags);
  if (got < 0 && is_member(fd)) {
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    message->msg_flags = 0;
    return guarded<ssize_t>([&] { return flowfs::ipn::receive_message(fd, *message, flags); });
  }
  return got;
}

// NOLINTBEGIN(bugprone-reserved-identifier): the C library's names.
FLOWFS_INTERPOSED ssize_t __recv_chk(int fd, void* bytes, size_t count, size_t room, int flags) {
  const ssize_t got = real().recv_chk(fd, bytes, count, room, flags);
  return got < 0 && is_member(fd) ? receive_one(fd, bytes, count, flags, nullptr) : got;
}

FLOWFS_INTERPOSED ssize_t __recvfrom_chk(int fd, void* bytes, size_t count, size_t room, int flags,
                                         sockaddr* address, socklen_t* address_bytes) {
  const ssize_t got = real().recvfrom_chk(fd, bytes, count, room, flags, address, address_bytes);
  return got < 0 && is_member(fd) ? receive_one(fd, bytes, count, flags, address_bytes) : got;
}
// NOLINTEND(bugprone-reserved-identifier)
