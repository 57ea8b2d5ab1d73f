// SPDX-License-Identifier: BSD-3-Clause
#include "fs/memory_socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "fs/request.hpp"

namespace flowfs::fs {
namespace {

constexpr int kBacklog = 128;

// Everybody may connect: bind(2) takes the mode from the umask.
int bind_for_all(int socket, const sockaddr_un& address) {
  constexpr mode_t kNotExecutable = 0111;
  const mode_t before = ::umask(kNotExecutable);
  const int bound = ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::umask(before);
  return bound;
}

Result<Fd> make_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(ENAMETOOLONG, "the path of the socket");
  }
  std::ranges::copy(path, std::begin(address.sun_path));
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) {
    return fail_errno("socket");
  }
  if (bind_for_all(socket.get(), address) != 0) {
    return fail_errno("bind");
  }
  if (::listen(socket.get(), kBacklog) != 0) {
    const auto failure = fail_errno("listen");
    ::unlink(path.c_str());
    return failure;
  }
  return socket;
}

// An open file of the client's own, with no more rights than it may have. The memory is the
// daemon's and 0600, so that nobody else can open it again for more.
Result<Fd> open_again(int memory, bool writable) {
  const std::string path = fmt::format("/proc/self/fd/{}", memory);
  Fd opened(::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC));
  return opened ? Result<Fd>(std::move(opened)) : fail_errno("opening memory again");
}

// `descriptor` goes along where it is one. False: the client does not take it.
bool send_answer(int socket, const flowfs_memory_answer& answer, int descriptor) {
  flowfs_memory_answer bytes = answer;
  iovec part{.iov_base = &bytes, .iov_len = sizeof bytes};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  }
  return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof bytes;
}

}  // namespace

Result<std::unique_ptr<MemorySocket>> MemorySocket::listen(Loop& loop, registry::Users& users,
                                                           const std::string& path, Answer answer) {
  auto socket = make_socket(path);
  if (!socket) {
    return std::unexpected(socket.error());
  }
  return std::unique_ptr<MemorySocket>(
      new MemorySocket(loop, users, std::move(*socket), path, std::move(answer)));
}

MemorySocket::MemorySocket(Loop& loop, registry::Users& users, Fd socket, std::string path,
                           Answer answer)
    : loop_(loop),
      users_(users),
      path_(std::move(path)),
      answer_(std::move(answer)),
      timer_(loop.timer([this] { tick(); })),
      listener_(loop, std::move(socket),
                [this](Fd connection, const ucred& peer) { admit(std::move(connection), peer); }) {}

MemorySocket::~MemorySocket() { ::unlink(path_.c_str()); }

void MemorySocket::admit(Fd socket, const ucred& peer) {
  const auto theirs =
      static_cast<std::size_t>(std::ranges::count(connections_, peer.uid, &Connection::uid));
  auto charge = users_.charge(peer.uid, registry::Resource::descriptors, 1);
  if (theirs >= kMostOfUid || !charge) {
    return;
  }
  if (connections_.size() >= kMost) {
    connections_.pop_front();
  }
  connections_.push_back({.socket = std::move(socket),
                          .uid = peer.uid,
                          .gid = peer.gid,
                          .charge = std::move(*charge),
                          .heard = Clock::now(),
                          .watch = {}});
  const Place place = std::prev(connections_.end());
  place->watch =
      loop_.watch(place->socket.get(), POLLIN, [this, place](short /*revents*/) { serve(place); });
  timer_.arm(std::min(timer_.deadline(), place->heard + kPatience));
}

void MemorySocket::serve(Place connection) {
  if (!answer_one(*connection)) {
    connections_.erase(connection);
    return;
  }
  connection->heard = Clock::now();
  connections_.splice(connections_.end(), connections_, connection);
}

bool MemorySocket::answer_one(const Connection& connection) {
  const int socket = connection.socket.get();
  flowfs_memory_request request{};
  iovec part{.iov_base = &request, .iov_len = sizeof request};
  msghdr message{};  // without room for control messages: the kernel closes what comes along
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const ssize_t got = ::recvmsg(socket, &message, MSG_DONTWAIT);
  if (got <= 0 || (message.msg_flags & MSG_CTRUNC) != 0) {
    return got < 0 && (errno == EAGAIN || errno == EINTR);
  }
  if (got != sizeof request || (message.msg_flags & MSG_TRUNC) != 0) {
    request = {};  // which is none
  }
  const Result<int> memory =
      answer_(request, {.uid = connection.uid, .gid = connection.gid, .groups = groups_of(socket)});
  Fd opened;
  int error = memory ? 0 : memory.error().error;
  if (memory) {
    auto theirs = open_again(*memory, request.access == FLOWFS_MEMORY_WRITE);
    error = theirs ? 0 : theirs.error().error;
    opened = theirs ? std::move(*theirs) : Fd();
  }
  return send_answer(socket,
                     {.version = FLOWFS_LAYOUT_VERSION,
                      .error = static_cast<std::uint32_t>(errno_for_caller(error))},
                     opened.get());
}

void MemorySocket::tick() {
  const Instant now = Clock::now();
  while (!connections_.empty() && connections_.front().heard + kPatience <= now) {
    connections_.pop_front();
  }
  if (!connections_.empty()) {
    timer_.arm(connections_.front().heard + kPatience);
  }
}

}  // namespace flowfs::fs
