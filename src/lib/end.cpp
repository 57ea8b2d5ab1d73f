// SPDX-License-Identifier: BSD-3-Clause
#include "lib/end.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>

#include "lib/fork.hpp"

namespace flowfs::lib {
namespace {

// How often a dial looks again whether a full backlog has room: nothing tells.
constexpr std::chrono::milliseconds kLeastPause{1};
constexpr std::chrono::milliseconds kMostPause{50};

Result<Fd> open_pending(int folder, const std::string& path, int access, const Wait& wait) {
  auto pause = kLeastPause;
  while (true) {
    Fd fd(::openat(folder, path.c_str(), access | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (fd) {
      return fd;
    }
    if (errno != EINTR && (errno != EAGAIN || !wait.blocks || wait.is_over())) {
      const int error = errno == EAGAIN && wait.blocks ? ETIMEDOUT : errno;
      return fail(error, "open");
    }
    if (errno == EAGAIN) {
      const timespec nap{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(pause).count()};
      (void)::nanosleep(&nap, nullptr);  // cut short by a signal it only looks sooner
      pause = std::min(pause * 2, kMostPause);
    }
  }
}

}  // namespace

Result<std::uint64_t> number_of(const std::string& text, const std::string& key) {
  std::size_t line = 0;
  while (line < text.size()) {
    const std::size_t end = std::min(text.find('\n', line), text.size());
    if (text.compare(line, key.size(), key) == 0 && text[line + key.size()] == ' ') {
      std::uint64_t value = 0;
      const char* last = text.data() + end;
      const auto parsed = std::from_chars(text.data() + line + key.size() + 1, last, value);
      if (parsed.ec == std::errc{} && parsed.ptr == last) {
        return value;
      }
    }
    line = end + 1;
  }
  return fail(EPROTO, "key");
}

int End::access_of(unsigned flags) {
  if ((flags & FLOWFS_RECEIVE_ONLY) != 0) {
    return O_RDONLY;
  }
  return (flags & FLOWFS_SEND_ONLY) != 0 ? O_WRONLY : O_RDWR;
}

Result<End::MessageFile> End::open_message(int folder, const std::string& path, int access,
                                           const Wait& wait) {
  auto fd = open_pending(folder, path, access, wait);
  if (!fd) {
    return std::unexpected(fd.error());
  }
  MessageFile opened{.fd = std::move(*fd), .access = access};
  const std::uint32_t packet = 1;  // a message that does not fit into the buffer is kept
  if (::ioctl(opened.fd.get(), FLOWFS_IOC_ID, &opened.id) != 0 ||
      ::ioctl(opened.fd.get(), FLOWFS_IOC_PACKET, &packet) != 0) {
    return fail_errno("ioctl");
  }
  return opened;
}

End::End(MessageFile message, std::string mount, unsigned flags, FileSender::Mtu mtu)
    : message_(std::move(message.fd)),
      mount_(std::move(mount)),
      id_(message.id),
      flags_(flags),
      may_receive_(message.access != O_WRONLY),
      may_send_(message.access != O_RDONLY),
      file_sender_(message_.get(), std::move(mtu)),
      file_receiver_(message_.get()) {
  remember(*this);
}

End::~End() { forget(*this); }

Status End::establish(const Wait& wait) {
  if (mode() != Mode::pending) {
    return {};
  }
  const auto turn = take_turn(mode_mutex_, wait);
  if (!turn) {
    return std::unexpected(turn.error());
  }
  return mode() == Mode::pending ? come_up(wait) : Status{};
}

void End::settle_as(std::unique_ptr<MappedSides> sides) {
  sides_ = std::move(sides);
  if (!sides_) {
    mode_.store(Mode::file, std::memory_order_release);
    return;
  }
  sender_ = &sides_->sending();
  receiver_ = &sides_->receiving();
  if (polled_) {
    sides_->sending().ring_when_ready();
    sides_->receiving().ring_when_ready();
  }
  // release, pairs with mode().
  mode_.store(Mode::mapped, std::memory_order_release);
}

Result<int> End::descriptor() {
  if (const Status ours = is_ours(); !ours) {
    return std::unexpected(ours.error());
  }
  const std::lock_guard lock(mode_mutex_);
  polled_ = true;
  if (sides_) {
    sides_->sending().ring_when_ready();
    sides_->receiving().ring_when_ready();
  }
  return message_.get();
}

void End::abandon() {
  if (sides_) {
    // The mappings are not in this process (MADV_DONTFORK), and their addresses may serve others
    // by now: neither unmapped nor destroyed.
    sides_->close_files();
    // NOLINTNEXTLINE(bugprone-unused-return-value): left behind, as said
    static_cast<void>(sides_.release());
  }
  message_.reset();
  mode_.store(Mode::forked, std::memory_order_release);
}

}  // namespace flowfs::lib
