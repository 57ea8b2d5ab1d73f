// SPDX-License-Identifier: BSD-3-Clause
#include "fs/vde_port.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace flowfs::fs {
namespace {

// Of one wake-up: others are served in between.
constexpr unsigned kBatch = 64;

bool means_later(int error) { return error == EAGAIN || error == EINTR; }

}  // namespace

VdePort::VdePort(Loop& loop, Buses& buses, RequestCounters& counters, std::span<std::byte> buffer,
                 Fd socket, std::function<void()> over)
    : loop_(loop),
      buses_(buses),
      counters_(counters),
      buffer_(buffer),
      socket_(std::move(socket)),
      over_(std::move(over)) {}

VdePort::~VdePort() {
  if (!path_.empty()) {
    ::unlink(path_.c_str());
  }
  if (std::exchange(live_, nullptr) != nullptr) {
    buses_.leave(port_);
  }
}

Status VdePort::join(LiveBus& live, registry::Opener who, registry::Rights rights, std::string name,
                     const VdeFolder& folder) {
  const auto port = buses_.join(live.id, *this, who, rights);
  if (!port) {
    return std::unexpected(port.error());
  }
  live_ = &live;
  port_ = *port;
  may_send_ = rights.send;
  if (!name.empty()) {
    live.names[port_] = std::move(name);
  }
  // Whoever finds it may try to send to it, and is refused: it is connected to its client alone.
  const auto number = buses_.registry().find_port(port_)->number;
  auto path = folder.bind(socket_, fmt::format("{}", std::to_underlying(number)));
  if (!path) {
    return std::unexpected(path.error());
  }
  path_ = std::move(*path);
  listen();
  return {};
}

void VdePort::listen() {
  readable_ = loop_.watch(socket_.get(), POLLIN, [this](short) { on_readable(); });
}

void VdePort::on_readable() {
  for (unsigned i = 0; i < kBatch && waiting_.empty() && socket_; ++i) {
    const ssize_t got = ::recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0) {
      if (!means_later(errno)) {
        end();
      }
      return;
    }
    // One that is longer than the buffer is longer than a bus may take, cut or whole.
    const auto frame = buffer_.first(static_cast<std::size_t>(got));
    if (!take_frame(frame)) {
      waiting_.assign(frame.begin(), frame.end());
      readable_.reset();
    }
  }
}

// False where the frame has to wait for room, and will be called for.
bool VdePort::take_frame(std::span<const std::byte> frame) {
  const int error = may_send_ ? buses_.send(*live_, port_, frame) : EACCES;
  if (error != EAGAIN) {
    if (error != 0) {
      counters_.refused(Op::vde, error);
    }
    return true;
  }
  live_->data.wait_for_room(port_, frame.size(), Clock::now());
  buses_.settle(*live_);
  return false;
}

void VdePort::on_room() {
  std::vector<std::byte> frame = std::exchange(waiting_, {});
  if (!frame.empty() && !take_frame(frame)) {
    waiting_ = std::move(frame);
  } else if (socket_) {
    listen();
  }
}

void VdePort::on_message() {
  if (socket_ && !writable_) {
    give_frames();
  }
}

void VdePort::give_frames() {
  bus::Bus& data = live_->data;
  while (socket_) {
    const bus::Bus::Front front = data.front(port_);
    if (front.outcome == bus::ReadOutcome::empty) {
      return;
    }
    if (front.outcome == bus::ReadOutcome::overtaken) {
      continue;
    }
    if (::send(socket_.get(), front.rest.data(), front.rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >=
        0) {
      data.consume(port_, front.rest.size(), Clock::now());
    } else if (means_later(errno)) {
      writable_ = loop_.watch(socket_.get(), POLLOUT, [this](short) { on_writable(); });
      return;
    } else {
      end();
      return;
    }
  }
}

void VdePort::on_writable() {
  writable_.reset();
  LiveBus& live = *live_;
  give_frames();
  buses_.settle(live);
}

void VdePort::on_cut_off() {
  live_ = nullptr;
  buses_.on_cut_off(port_);
  end();
}

// Of a socket that fails nothing more is asked: once its peer has gone it could take another.
void VdePort::end() {
  if (!socket_) {
    return;
  }
  readable_.reset();
  writable_.reset();
  socket_.reset();
  waiting_.clear();
  over_();
}

}  // namespace flowfs::fs
