// SPDX-License-Identifier: BSD-3-Clause
#include "ipn/membership.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>

#include "base/fd.hpp"
#include "flowfs/af_ipn.h"
#include "flowfs/wire.h"
#include "ipn/bus_path.hpp"
#include "ipn/real.hpp"

namespace flowfs::ipn {
namespace {

Result<std::string> folder_of(const sockaddr* address, socklen_t bytes) {
  const Result<std::string> path = path_of(address, bytes);
  return path ? bus_folder(*path, current_surroundings()) : path;
}

// Whether the caller may manage the bus, which is there.
Status manage(const std::string& folder, int protocol) {
  const std::string file = folder + "/bus";
  if (faccessat(AT_FDCWD, file.c_str(), F_OK, AT_EACCESS) != 0) {
    return fail_errno("access");
  }
  if (const Status fits = check_protocol(folder, protocol); !fits) {
    return fits;
  }
  // Whoever has x on `bus` may write this; x itself cannot be asked for where nothing may be run.
  const std::string managed = folder + "/ports";
  if (faccessat(AT_FDCWD, managed.c_str(), W_OK, AT_EACCESS) != 0) {
    return fail_errno("access");
  }
  return {};
}

Result<Fd> open_bus(const std::string& folder, int flags) {
  const std::string file = folder + "/bus";
  for (;;) {
    const int fd = open(file.c_str(), flags | O_CLOEXEC);
    if (fd >= 0) {
      return Fd(fd);
    }
    if (errno != EINTR) {
      return fail_errno("open");
    }
  }
}

// With as many of the directions that are left as the mode allows.
Result<Fd> join(const std::string& folder, const Placeholder& socket, int flags) {
  Result<Fd> member = fail(EACCES);
  for (const int access : {O_RDWR, O_RDONLY, O_WRONLY}) {
    const bool is_left =
        (socket.receives || access == O_WRONLY) && (socket.sends || access == O_RDONLY);
    if (is_left && !member && member.error().error == EACCES) {
      member = open_bus(folder, access | flags);
    }
  }
  return member;
}

// `file` takes the place of `fd`, with its close-on-exec.
Status put_in_place(int fd, const Fd& file) {
  const int flags = fcntl(fd, F_GETFD);
  const int keep = (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0;
  return dup3(file.get(), fd, keep) >= 0 ? Status() : fail_errno("dup3");
}

// For MSG_DONTWAIT: files know no such flag for one call. Another thread that reads the same
// descriptor may still be quicker.
bool is_ready(int fd, short events) {
  pollfd poll_fd{.fd = fd, .events = events, .revents = 0};
  return poll(&poll_fd, 1, 0) > 0;
}

int access_of(int fd) { return fcntl(fd, F_GETFL) & O_ACCMODE; }

}  // namespace

Result<std::string> bind_bus(const Placeholder& socket, const sockaddr* address, socklen_t bytes) {
  if (!socket.folder.empty()) {
    return fail(EINVAL, "bound already");
  }
  Result<std::string> folder = folder_of(address, bytes);
  if (!folder) {
    return folder;
  }
  Status done = manage(*folder, socket.protocol);
  if (!done && done.error().error == ENOENT) {
    done = make_bus(*folder, socket.protocol, socket.options);
    if (!done && done.error().error == EEXIST) {
      done = manage(*folder, socket.protocol);  // somebody else has just made it
    }
  }
  return done ? folder : std::unexpected(done.error());
}

Status connect_bus(int fd, const Placeholder& socket, const sockaddr* address, socklen_t bytes) {
  if (address == nullptr && socket.folder.empty()) {
    return fail(EDESTADDRREQ, "no address, and none bound");
  }
  const Result<std::string> folder =
      address == nullptr ? Result<std::string>(socket.folder) : folder_of(address, bytes);
  if (!folder) {
    return std::unexpected(folder.error());
  }
  if (const Status fits = check_protocol(*folder, socket.protocol); !fits) {
    return fits;
  }
  const Result<Fd> member = join(*folder, socket, fcntl(fd, F_GETFL) & O_NONBLOCK);
  return member ? put_in_place(fd, *member) : std::unexpected(member.error());
}

Status check_directions(int how) {
  const bool known = how == SHUT_RD || how == SHUT_WR || how == SHUT_RDWR;
  return known ? Status() : fail(EINVAL, "neither direction");
}

Status shut_down(int fd, const std::string& folder, int how) {
  if (const Status good = check_directions(how); !good) {
    return good;
  }
  std::uint64_t port = 0;
  if (ioctl(fd, FLOWFS_IOC_ID, &port) != 0) {
    return fail_errno("ioctl");
  }
  if (port == 0) {
    return {};  // it is no member any more
  }
  const char* const verb = how == SHUT_RD   ? "shutdown read"
                           : how == SHUT_WR ? "shutdown write"
                                            : "close";
  return write_attribute(folder + "/port/" + std::to_string(port) + "/ctl", verb);
}

Result<std::size_t> send_message(int fd, const msghdr& message, int flags) {
  if ((flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR | MSG_CONFIRM)) != 0) {
    return fail(EOPNOTSUPP, "a flag that sending to a bus has not");
  }
  if (message.msg_name != nullptr) {
    return fail(EISCONN, "an address, when a bus is the only one");
  }
  if (access_of(fd) == O_RDONLY) {
    if ((flags & MSG_NOSIGNAL) == 0) {
      raise(SIGPIPE);
    }
    return fail(EPIPE, "this member does not send");
  }
  if ((flags & MSG_DONTWAIT) != 0 && !is_ready(fd, POLLOUT)) {
    return fail(EAGAIN, "the bus is full");
  }
  const ssize_t bytes = writev(fd, message.msg_iov, static_cast<int>(message.msg_iovlen));
  if (bytes < 0 && errno == EPIPE && (flags & MSG_NOSIGNAL) == 0) {
    raise(SIGPIPE);
    errno = EPIPE;
  }
  return bytes >= 0 ? Result<std::size_t>(static_cast<std::size_t>(bytes)) : fail_errno("writev");
}

Result<std::size_t> receive_message(int fd, const msghdr& message, int flags) {
  if ((flags & ~(MSG_DONTWAIT | MSG_WAITALL | MSG_CMSG_CLOEXEC | MSG_NOSIGNAL)) != 0) {
    return fail(EOPNOTSUPP, "a flag that receiving from a bus has not");
  }
  if (access_of(fd) == O_WRONLY) {
    return 0;
  }
  if ((flags & MSG_DONTWAIT) != 0 && !is_ready(fd, POLLIN)) {
    return fail(EAGAIN, "no message");
  }
  const ssize_t bytes = readv(fd, message.msg_iov, static_cast<int>(message.msg_iovlen));
  return bytes >= 0 ? Result<std::size_t>(static_cast<std::size_t>(bytes)) : fail_errno("readv");
}

Result<int> member_option(int fd, const std::string& folder, int level, int option) {
  if (level == SOL_SOCKET) {
    switch (option) {
      case SO_DOMAIN:
        return AF_IPN;
      case SO_TYPE:
        return SOCK_RAW;
      case SO_ERROR:
        return 0;
      case SO_PROTOCOL:
        return check_protocol(folder, IPN_VDESWITCH) ? IPN_VDESWITCH : IPN_BROADCAST;
      default:
        return fail(ENOPROTOOPT, "an option that a bus has not");
    }
  }
  if (level != 0) {
    return fail(ENOPROTOOPT, "a level that a bus has not");
  }
  if (option != IPN_SO_PORT) {
    return read_option(folder, option);
  }
  std::uint64_t port = 0;
  if (ioctl(fd, FLOWFS_IOC_ID, &port) != 0) {
    return fail_errno("ioctl");
  }
  return port == 0 ? IPN_PORTNO_ANY : static_cast<int>(port);
}

}  // namespace flowfs::ipn
