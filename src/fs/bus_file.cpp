// SPDX-License-Identifier: BSD-3-Clause
#include "fs/bus_file.hpp"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <utility>

#include "flowfs/wire.h"
#include "fs/direct_bus.hpp"
#include "fs/mapped_member.hpp"

namespace flowfs::fs {

BusFile::BusFile(Buses& buses, Parking& parking, Replies& replies, Node node, int flags)
    : File(replies, node, flags),
      buses_(buses),
      parking_(parking),
      readers_(parking),
      writers_(parking, [this] { wait_for_room(); }) {}

BusFile::~BusFile() {
  const bool member = std::exchange(live_, nullptr) != nullptr;
  readers_.fail_all(ECONNABORTED);
  writers_.fail_all(ECONNABORTED);
  if (member) {
    buses_.leave(port_);
  }
}

Status BusFile::join(LiveBus& live, registry::Opener who, registry::Rights rights) {
  const auto port = buses_.join(live.id, *this, who, rights);
  if (!port) {
    return std::unexpected(port.error());
  }
  live_ = &live;
  port_ = *port;
  live.files.emplace(port_, this);
  return {};
}

void BusFile::read(Request request, std::size_t size, const Transfer& transfer) {
  if (transfer.through_cache) {
    replies_.error(request, EINVAL);
  } else if (live_ == nullptr && !reads_end_) {
    replies_.error(request, ECONNABORTED);
  } else if (mapped() != nullptr) {
    replies_.error(request, EBUSY);
  } else if (reads_end_ || size == 0 || (transfer.offset != 0 && !live_->data.has_begun(port_))) {
    // A second READ of one system call may only go on with the message that the first one began.
    fuse_reply_buf(request.raw, nullptr, 0);
  } else if (readers_.empty() && answer_read(request, size)) {
    buses_.settle(*live_);
  } else if ((transfer.flags & O_NONBLOCK) != 0) {
    replies_.error(request, EAGAIN);
  } else {
    parking_.park(readers_, {.request = request, .file = this, .size = size});
  }
}

// Answers with a message or an error; false where there is nothing yet.
bool BusFile::answer_read(Request request, std::size_t size) {
  const bus::Bus::Front front = live_->data.front(port_);
  switch (front.outcome) {
    case bus::ReadOutcome::empty:
      return false;
    case bus::ReadOutcome::overtaken:
      replies_.error(request, ESTALE);
      return true;
    case bus::ReadOutcome::ok:
      break;
  }
  if (rules_.packet_mode() && size < front.rest.size()) {
    replies_.error(request, EMSGSIZE);
    return true;
  }
  const std::size_t part = std::min(size, front.rest.size());
  // Where the reader has been killed in the meantime, the message stays for the next one.
  if (fuse_reply_buf(request.raw, reinterpret_cast<const char*>(front.rest.data()), part) == 0) {
    live_->data.consume(port_, part, Clock::now());
  }
  return true;
}

void BusFile::write(Request request, std::span<const std::byte> data, const Transfer& transfer) {
  if (writes_end_ || live_ == nullptr || data.empty()) {
    replies_.error(request, writes_end_ ? EPIPE : live_ == nullptr ? ECONNABORTED : 0);
    return;
  }
  if (mapped() != nullptr) {
    replies_.error(request, EBUSY);
    return;
  }
  const int refused =
      data.size() > buses_.longest_write() ? EMSGSIZE : rules_.check_write(transfer, data.size());
  if (refused != 0) {
    replies_.error(request, refused);
    return;
  }
  const int error = writers_.empty() ? buses_.send(*live_, port_, data) : EAGAIN;
  if (error == 0) {
    fuse_reply_write(request.raw, data.size());
  } else if (error != EAGAIN || (transfer.flags & O_NONBLOCK) != 0) {
    replies_.error(request, error);
  } else if (parking_.park_message(writers_, {.request = request, .file = this}, data)) {
    wait_for_room();
  }
}

// For the first of the writers that wait, if any still does.
void BusFile::wait_for_room() {
  if (live_ == nullptr) {
    return;
  }
  if (writers_.empty()) {
    live_->data.stop_waiting(port_, Clock::now());
  } else {
    live_->data.wait_for_room(port_, writers_.front().data.size(), Clock::now());
  }
  buses_.settle(*live_);
}

void BusFile::serve_writer() {
  const int error = buses_.send_parked(*live_, port_, writers_.front());
  if (error == EAGAIN) {
    return;
  }
  const Parked taken = writers_.take_front();
  if (error == 0) {
    fuse_reply_write(taken.request.raw, taken.data.size());
  } else {
    replies_.error(taken.request, error);
  }
}

void BusFile::ioctl(Request request, unsigned command, std::span<const std::byte> in,
                    std::size_t out_size) {
  if (command == FLOWFS_IOC_SKIP && out_size >= sizeof(std::uint64_t)) {
    skip(request);
    return;
  }
  const registry::Port* port = buses_.registry().find_port(port_);
  const auto number = port != nullptr ? static_cast<std::uint64_t>(port->number) : 0;
  rules_.ioctl(replies_, request, command, in, out_size, number);
}

void BusFile::skip(Request request) {
  if (live_ == nullptr) {
    replies_.error(request, ECONNABORTED);
    return;
  }
  if (mapped() != nullptr) {
    replies_.error(request, EBUSY);
    return;
  }
  const std::uint64_t skipped = live_->data.skip(port_, Clock::now());
  fuse_reply_ioctl(request.raw, 0, &skipped, sizeof skipped);
  buses_.settle(*live_);
}

unsigned BusFile::ready() {
  const unsigned over =
      (reads_end_ ? POLLIN | POLLRDNORM : 0U) | (writes_end_ ? POLLOUT | POLLWRNORM : 0U);
  if (live_ == nullptr) {
    return over | (over != 0 ? POLLHUP : POLLERR | POLLHUP);
  }
  const MappedMember* const member = mapped();
  if (member != nullptr) {
    live_->refresh();
    live_->data.await_message(port_);
    buses_.settle(*live_);
    if (live_->direct) {
      live_->direct->hurry();
    }
  }
  unsigned events = over | (live_->data.readable(port_) ? POLLIN | POLLRDNORM : 0U);
  const auto is_writable = [&] {
    return member != nullptr ? !member->is_blocked() : live_->data.writable(port_);
  };
  if ((flags() & O_ACCMODE) != O_RDONLY && !writes_end_ && is_writable()) {
    events |= POLLOUT | POLLWRNORM;
  }
  return events;
}

MappedMember* BusFile::mapped() const {
  if (live_ == nullptr) {
    return nullptr;
  }
  const auto found = live_->mapped.find(port_);
  return found == live_->mapped.end() ? nullptr : found->second;
}

void BusFile::on_mapped() {
  readers_.fail_all(EBUSY);
  writers_.fail_all(EBUSY);
  wait_for_room();
  notify();
}

void BusFile::on_shut_down(registry::Rights left) {
  reads_end_ = !left.receive && (flags() & O_ACCMODE) != O_WRONLY;
  writes_end_ = !left.send && (flags() & O_ACCMODE) != O_RDONLY;
  live_ = left.receive || left.send ? live_ : nullptr;
  while (reads_end_ && !readers_.empty()) {
    fuse_reply_buf(readers_.take_front().request.raw, nullptr, 0);
  }
  if (writes_end_) {
    writers_.fail_all(EPIPE);
  }
  notify();
}

void BusFile::on_message() {
  while (!readers_.empty() && live_->data.readable(port_)) {
    const Parked parked = readers_.take_front();
    answer_read(parked.request, parked.size);
  }
  notify();
}

void BusFile::on_room() {
  if (MappedMember* const member = mapped(); member != nullptr) {
    member->on_room();
  } else if (!writers_.empty()) {
    serve_writer();
    wait_for_room();
  }
  notify();
}

void BusFile::on_cut_off() {
  live_ = nullptr;
  buses_.on_cut_off(port_);
  readers_.fail_all(ECONNABORTED);
  writers_.fail_all(ECONNABORTED);
  notify();
}

}  // namespace flowfs::fs
