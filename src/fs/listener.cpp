// SPDX-License-Identifier: BSD-3-Clause
#include "fs/listener.hpp"

#include <poll.h>

#include <cerrno>
#include <utility>

namespace flowfs::fs {
namespace {

constexpr Micros kBreath{100'000};

}  // namespace

Listener::Listener(Loop& loop, Fd socket, Arrived arrived)
    : loop_(loop),
      socket_(std::move(socket)),
      arrived_(std::move(arrived)),
      breath_(loop.timer([this] { listen(); })) {
  listen();
}

void Listener::listen() {
  watch_ = loop_.watch(socket_.get(), POLLIN, [this](short /*revents*/) { accept(); });
}

void Listener::accept() {
  Fd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!connection) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // Looking again at once would find the same.
      watch_.reset();
      breath_.arm(Clock::now() + kBreath);
    }
    return;
  }
  ucred peer{};
  socklen_t bytes = sizeof peer;
  if (::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0) {
    arrived_(std::move(connection), peer);
  }
}

std::vector<gid_t> groups_of(int socket) {
  std::vector<gid_t> groups(32);
  for (;;) {
    auto bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const int got = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes);
    const bool more = got != 0 && errno == ERANGE && bytes > groups.size() * sizeof(gid_t);
    groups.resize(got == 0 || more ? bytes / sizeof(gid_t) : 0);
    if (!more) {
      return groups;
    }
  }
}

}  // namespace flowfs::fs
