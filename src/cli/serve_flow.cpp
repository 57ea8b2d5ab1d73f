// SPDX-License-Identifier: BSD-3-Clause
#include "cli/serve_flow.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "flowfs/wire.h"

namespace flowfs::cli {
namespace {

// A read costs the kernel some work for every page of its buffer, so that a buffer for the longest
// message would slow down all the short ones.
constexpr std::size_t kFirstBuffer = std::size_t{16} << 10U;
constexpr std::size_t kLargestBuffer = std::size_t{64} << 20U;
constexpr std::size_t kMessagesPerTurn = 64;

}  // namespace

int open_flags(ServeRole role) {
  switch (role) {
    case ServeRole::sink:
      return O_RDONLY;
    case ServeRole::source:
      return O_WRONLY;
    case ServeRole::echo:
      break;
  }
  return O_RDWR;
}

ServedFlow::ServedFlow(Fd fd, const ServeOptions& options, std::vector<std::byte>& scratch)
    : fd_(std::move(fd)), options_(options), scratch_(scratch) {
  if (scratch_.size() < kFirstBuffer) {
    scratch_.resize(kFirstBuffer);
  }
  // So that a message longer than the buffer stays whole (EMSGSIZE) and is read again.
  std::uint32_t packet = 1;
  if (options_.role != ServeRole::source && ioctl(fd_.get(), FLOWFS_IOC_PACKET, &packet) != 0) {
    error_ = errno;
  }
  if (ioctl(fd_.get(), FLOWFS_IOC_ID, &id_) != 0) {
    error_ = errno;
  }
  if (options_.role == ServeRole::source) {
    outgoing_.assign(options_.size_bytes, std::byte{'.'});
    sending_ = true;
  }
}

std::uint32_t ServedFlow::wanted() const {
  if (!up_) {
    return EPOLLIN | EPOLLOUT;
  }
  return sending_ ? EPOLLOUT : EPOLLIN;
}

ServedFlow::Outcome ServedFlow::receive() {
  const ssize_t bytes = read(fd_.get(), scratch_.data(), scratch_.size());
  if (bytes == 0) {
    return Outcome::ended;
  }
  if (bytes < 0) {
    if (errno == EMSGSIZE && scratch_.size() < kLargestBuffer) {
      scratch_.resize(scratch_.size() * 2);
      return Outcome::going_on;
    }
    if (errno == EAGAIN || errno == EINTR) {
      blocked_ = errno == EAGAIN;
      return Outcome::going_on;
    }
    error_ = errno;
    return Outcome::failed;
  }
  const auto length = static_cast<std::size_t>(bytes);
  traffic_.bytes += length;
  ++traffic_.messages;
  if (options_.role == ServeRole::echo) {
    outgoing_.assign(scratch_.begin(), scratch_.begin() + bytes);
    sending_ = true;
    return Outcome::going_on;
  }
  if (options_.numbered) {
    traffic_.order.see(std::span(scratch_).first(length));
  }
  return count_reached() ? Outcome::ended : Outcome::going_on;
}

ServedFlow::Outcome ServedFlow::send() {
  if (options_.numbered && options_.role == ServeRole::source) {
    put_sequence(traffic_.messages + 1, outgoing_);
  }
  if (write(fd_.get(), outgoing_.data(), outgoing_.size()) < 0) {
    if (errno == EAGAIN || errno == EINTR) {
      blocked_ = errno == EAGAIN;
      return Outcome::going_on;
    }
    error_ = errno;
    return errno == EPIPE ? Outcome::ended : Outcome::failed;
  }
  if (options_.role == ServeRole::source) {
    traffic_.bytes += outgoing_.size();
    ++traffic_.messages;
  } else {
    sending_ = false;
  }
  return count_reached() ? Outcome::ended : Outcome::going_on;
}

ServedFlow::Outcome ServedFlow::turn() {
  Outcome outcome = Outcome::going_on;
  blocked_ = false;
  for (std::size_t step = 0; step < kMessagesPerTurn && !blocked_ && outcome == Outcome::going_on;
       ++step) {
    outcome = sending_ ? send() : receive();
  }
  return outcome;
}

ServedFlow::Outcome ServedFlow::proceed(std::uint32_t ready) {
  if (error_ != 0) {
    return Outcome::failed;
  }
  if (!up_ && (ready & (EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLERR)) == 0) {
    return Outcome::pending;
  }
  up_ = true;
  return turn();
}

}  // namespace flowfs::cli
