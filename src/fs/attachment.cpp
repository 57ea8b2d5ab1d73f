// SPDX-License-Identifier: BSD-3-Clause
#include "fs/attachment.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

namespace flowfs::fs {
namespace {

// Of one wake-up: others are served in between.
constexpr unsigned kBatch = 64;
constexpr auto kRetry = std::chrono::seconds(1);

bool is_down(int error) { return error == ENETDOWN || error == EIO; }

}  // namespace

const char* to_string(Attachment::State state) {
  switch (state) {
    case Attachment::State::up:
      return "up";
    case Attachment::State::down:
      return "down";
    case Attachment::State::away:
      return "away";
  }
  return "unknown";
}

const char* to_string(Attachment::Kind kind) {
  return kind == Attachment::Kind::tap ? "tap" : "grab";
}

Attachment::Attachment(Loop& loop, Buses& buses, Workers& closers, std::span<std::byte> buffer,
                       Kind kind, std::string name)
    : loop_(loop),
      buses_(buses),
      closers_(closers),
      buffer_(buffer),
      kind_(kind),
      name_(std::move(name)),
      retry_(loop.timer([this] { retry(); })) {}

Attachment::~Attachment() {
  close();
  if (std::exchange(member_, false)) {
    buses_.leave(port_);
  }
}

Status Attachment::attach(LiveBus& live, registry::Opener who) {
  live_ = &live;
  who_ = who;
  if (Status opened = open(); !opened) {
    return opened;
  }
  return join();
}

Status Attachment::open() {
  auto opened = kind_ == Kind::tap ? open_tap(name_) : open_interface(name_);
  if (!opened) {
    return std::unexpected(opened.error());
  }
  fd_ = std::move(*opened);
  listen();
  return {};
}

Status Attachment::join() {
  const auto port = buses_.join(live_->id, *this, who_, {.receive = true, .send = true},
                                bus::EthernetBus::Frames::with_offload);
  if (!port) {
    return std::unexpected(port.error());
  }
  port_ = *port;
  member_ = true;
  live_->names[port_] = name_;
  return {};
}

const Attachment::Counts& Attachment::counts() {
  if (fd_) {
    counts_.lost_in += take_missed(fd_);
  }
  return counts_;
}

void Attachment::close() {
  watch_.reset();
  if (!fd_) {
    return;
  }
  counts_.lost_in += take_missed(fd_);
  auto closing = std::make_shared<Fd>(std::move(fd_));
  // Where no worker has room the last owner closes it, here and now.
  static_cast<void>(closers_.try_submit([closing] { closing->reset(); }));
}

void Attachment::listen() {
  watch_ = loop_.watch(fd_.get(), POLLIN, [this](short) { on_readable(); });
}

void Attachment::on_readable() {
  for (unsigned i = 0; i < kBatch && waiting_.empty(); ++i) {
    const auto received =
        kind_ == Kind::tap ? receive_from_tap(fd_, buffer_) : receive_from_interface(fd_, buffer_);
    if (!received) {
      on_receive_failed(received.error().error);
      return;
    }
    if (received->tag_put_back) {
      bus::move_offload(buffer_.first<bus::kOffloadBytes>(), bus::kTagBytes);
    }
    set_state(State::up);
    if (!take_frame(received->bytes)) {
      waiting_.assign(buffer_.begin(), buffer_.begin() + static_cast<long>(received->bytes));
      watch_.reset();
    }
  }
}

// False where the frame has to wait for room, and will be called for.
bool Attachment::take_frame(std::size_t bytes) {
  const int error =
      member_ ? buses_.send(*live_, port_, std::span(buffer_).first(bytes)) : ENOTCONN;
  if (error == EAGAIN) {
    live_->data.wait_for_room(port_, bytes, Clock::now());
    buses_.settle(*live_);
    return false;
  }
  if (error == 0) {
    ++counts_.frames_in;
    counts_.bytes_in += bytes - std::min(bytes, bus::kOffloadBytes);
  } else {
    ++counts_.lost_in;
  }
  return true;
}

void Attachment::on_receive_failed(int error) {
  if (error == EAGAIN || error == EINTR) {
    return;
  }
  if (error == EINVAL) {  // datagrams sent as one, which Linux before 6.2 cannot say of a frame
    ++counts_.lost_in;
    return;
  }
  if (is_down(error) && !is_gone(fd_)) {
    set_state(State::down);
  } else {
    close();
    set_state(State::away);
  }
  retry_.arm(later(Clock::now(), kRetry));
}

void Attachment::retry() {
  if (!member_ && !join()) {
    retry_.arm(later(Clock::now(), kRetry));
  }
  if (fd_ && is_gone(fd_)) {  // the kernel does not say so of one that was down
    close();
    set_state(State::away);
  }
  if (fd_ && state_ != State::down) {
    return;
  }
  if (!fd_ && open()) {
    set_state(State::up);
  } else {
    retry_.arm(later(Clock::now(), kRetry));
  }
}

void Attachment::on_message() {
  bus::Bus& data = live_->data;
  for (;;) {
    const bus::Bus::Front front = data.front(port_);
    if (front.outcome == bus::ReadOutcome::empty) {
      return;
    }
    if (front.outcome == bus::ReadOutcome::ok) {
      put_frame(front.rest);
      data.consume(port_, front.rest.size(), Clock::now());
    }
  }
}

void Attachment::put_frame(std::span<const std::byte> message) {
  const ssize_t written = fd_ ? ::write(fd_.get(), message.data(), message.size()) : -1;
  if (written >= 0) {
    ++counts_.frames_out;
    counts_.bytes_out += message.size() - bus::kOffloadBytes;
    set_state(State::up);
    return;
  }
  ++counts_.lost_out;
  if (fd_ && is_down(errno)) {
    set_state(State::down);
  }
}

void Attachment::on_room() {
  std::vector<std::byte> frame = std::exchange(waiting_, {});
  // As if it had just been read.
  const auto buffer = std::exchange(buffer_, frame);
  const bool waits = !frame.empty() && !take_frame(frame.size());
  buffer_ = buffer;
  if (waits) {
    waiting_ = std::move(frame);
  } else if (fd_) {
    listen();
  }
}

// It joins again, but not from inside the bus.
void Attachment::on_cut_off() {
  member_ = false;
  waiting_.clear();
  buses_.on_cut_off(port_);
  if (fd_) {
    listen();
  }
  retry_.arm(later(Clock::now(), kRetry));
}

void Attachment::set_state(State state) {
  if (std::exchange(state_, state) != state) {
    buses_.publish_link(*live_, port_, who_.uid, name_, to_string(state));
  }
}

}  // namespace flowfs::fs
