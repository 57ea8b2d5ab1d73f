// SPDX-License-Identifier: BSD-3-Clause
#include "fs/file.hpp"

#include <poll.h>

namespace flowfs::fs {

File::~File() {
  if (poll_ != nullptr) {
    notify();  // a poll(2) that another thread is in must not sleep on
    fuse_pollhandle_destroy(poll_);
  }
}

void File::read(Request request, std::size_t /*size*/, const Transfer& /*transfer*/) {
  replies_.error(request, EINVAL);
}

void File::write(Request request, std::span<const std::byte> /*data*/,
                 const Transfer& /*transfer*/) {
  replies_.error(request, EINVAL);
}

void File::ioctl(Request request, unsigned /*command*/, std::span<const std::byte> /*in*/,
                 std::size_t /*out_size*/) {
  replies_.error(request, ENOTTY);
}

void File::flush(Request request, std::uint64_t /*lock_owner*/) { replies_.error(request, 0); }

unsigned File::ready() { return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM; }

void File::watch(fuse_pollhandle* handle) {
  if (handle != nullptr) {
    if (poll_ != nullptr) {
      fuse_pollhandle_destroy(poll_);
    }
    poll_ = handle;
  }
  told_ = false;
  watched();
}

void File::notify() {
  if (poll_ != nullptr && !told_) {
    told_ = true;
    fuse_lowlevel_notify_poll(poll_);
  }
}

}  // namespace flowfs::fs
