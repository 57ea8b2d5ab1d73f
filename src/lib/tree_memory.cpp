// SPDX-License-Identifier: BSD-3-Clause
#include "lib/tree_memory.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace flowfs::lib {
namespace {

// The daemon answers at once or not at all; without it the end goes on in file mode.
constexpr timeval kPatience{.tv_sec = 5, .tv_usec = 0};

// Whoever may make files beside the mount could listen there: only the daemon holds DIR.lock.
bool is_daemon(int socket, const std::string& mount) {
  ucred peer{};
  socklen_t bytes = sizeof peer;
  struct stat lock{};
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
         ::lstat((mount + ".lock").c_str(), &lock) == 0 && lock.st_uid == peer.uid;
}

Result<Fd> connect_to(const std::string& mount) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(mount.c_str(), nullptr),
                                                         &std::free);
  if (!real) {
    return fail_errno("mount");
  }
  const std::string folder = real.get();
  const std::string path = folder + ".sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(ENAMETOOLONG, "socket");
  }
  std::ranges::copy(path, std::begin(address.sun_path));
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience) != 0) {
    return fail_errno("socket");
  }
  while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
         0) {
    if (errno != EINTR) {
      return fail_errno("connect");
    }
  }
  if (!is_daemon(socket.get(), folder)) {
    return fail(EPROTO, "not the daemon's socket");
  }
  return socket;
}

// The descriptor that came with an answer; none where there is none.
Fd descriptor_of(msghdr& message) {
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    return {};
  }
  int descriptor = -1;
  std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
  return Fd(descriptor);
}

Result<Fd> receive(const Fd& socket) {
  flowfs_memory_answer answer{};
  iovec part{.iov_base = &answer, .iov_len = sizeof answer};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    return errno == EAGAIN ? fail(ETIMEDOUT, "recvmsg") : fail_errno("recvmsg");
  }
  Fd memory = descriptor_of(message);
  if (got != sizeof answer || answer.version != FLOWFS_LAYOUT_VERSION ||
      (answer.error == 0) != static_cast<bool>(memory)) {
    return fail(EPROTO, "answer");
  }
  return memory ? Result<Fd>(std::move(memory)) : fail(static_cast<int>(answer.error), "memory");
}

Result<Fd> ask_for(const std::string& mount, MemoryName name, bool writable) {
  const auto socket = connect_to(mount);
  if (!socket) {
    return std::unexpected(socket.error());
  }
  const flowfs_memory_request request{.version = FLOWFS_LAYOUT_VERSION,
                                      .file = name.file,
                                      .object = name.object,
                                      .access = writable ? FLOWFS_MEMORY_WRITE : FLOWFS_MEMORY_READ,
                                      .reserved = 0};
  if (::send(socket->get(), &request, sizeof request, MSG_NOSIGNAL) != sizeof request) {
    return fail_errno("send");
  }
  return receive(*socket);
}

}  // namespace

Result<Mapping> map_memory(const Fd& opened, std::size_t bytes, Mapping::Access access,
                           const std::string& mount, MemoryName name) {
  auto mapping = Mapping::map(opened, bytes, access);
  if (mapping || mapping.error().error != ENODEV) {
    return mapping;
  }
  const auto memory = ask_for(mount, name, access == Mapping::Access::read_write);
  if (!memory) {
    return std::unexpected(memory.error());
  }
  struct stat found{};
  if (::fstat(memory->get(), &found) != 0 || static_cast<std::size_t>(found.st_size) < bytes) {
    return fail(EPROTO, "memory that was handed out");
  }
  return Mapping::map(*memory, bytes, access);
}

Status introduce(const Fd& mapped) {
  const Fd copy(::fcntl(mapped.get(), F_DUPFD_CLOEXEC, 0));
  return copy ? Status{} : fail_errno("dup");
}

}  // namespace flowfs::lib
