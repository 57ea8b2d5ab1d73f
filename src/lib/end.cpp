// SPDX-License-Identifier: BSD-3-Clause
#include "lib/end.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <thread>
#include <utility>

#include "lib/fork.hpp"
#include "pool/shared.hpp"

namespace flowfs::lib {
namespace {

// How often a dial looks again whether a full backlog has room: nothing tells.
constexpr std::chrono::milliseconds kLeastPause{1};
constexpr std::chrono::milliseconds kMostPause{50};

// Pending from the first moment: what it waits for is polled for, with the caller's timeout.
Result<Fd> open_message(const std::string& path, const Wait& wait) {
  auto pause = kLeastPause;
  while (true) {
    Fd fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
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

End::End(Fd message, std::string mount, std::uint64_t id, unsigned flags)
    : message_(std::move(message)),
      mount_(std::move(mount)),
      id_(id),
      flags_(flags),
      file_sender_(message_.get(), file("stats")),
      file_receiver_(message_.get()) {
  remember(*this);
}

End::~End() { forget(*this); }

Result<std::unique_ptr<End>> End::open(Role role, const std::string& mount, const std::string& name,
                                       unsigned flags, const Wait& wait) {
  const char* file = role == Role::client ? "/dial" : "/accept";
  auto message = open_message(mount + "/names/" + name + file, wait);
  if (!message) {
    return std::unexpected(message.error());
  }
  std::uint64_t id = 0;
  const std::uint32_t packet = 1;  // a message that does not fit into the buffer is kept
  if (::ioctl(message->get(), FLOWFS_IOC_ID, &id) != 0 ||
      ::ioctl(message->get(), FLOWFS_IOC_PACKET, &packet) != 0) {
    return fail_errno("ioctl");
  }
  auto end = std::unique_ptr<End>(new End(std::move(*message), mount, id, flags));
  const Status up = end->establish(wait);
  if (!up && (wait.blocks || up.error().error != EAGAIN)) {
    return std::unexpected(up.error());
  }
  return end;
}

// Waits for the peer, then decides for a mode.
Status End::establish(const Wait& wait) {
  if (mode() != Mode::pending) {
    return {};
  }
  const auto turn = take_turn(mode_mutex_, wait);
  if (!turn) {
    return std::unexpected(turn.error());
  }
  while (mode() == Mode::pending) {
    const auto now = state();
    if (!now && now.error().error != ENOENT) {
      return std::unexpected(now.error());
    }
    if (!now || *now == FLOWFS_STATE_DEALLOCATED) {
      // Why it will never be up; nothing can be lost by reading where nothing can have come.
      std::byte byte{};
      // NOLINTNEXTLINE(clang-analyzer-unix.BlockInCriticalSection): O_NONBLOCK
      if (::read(message_.get(), &byte, 1) < 0) {
        return fail_errno("dial");
      }
      return fail(ECONNRESET, "the flow has gone");
    }
    if (*now != FLOWFS_STATE_ALLOC_PENDING && *now != FLOWFS_STATE_ACCEPT_PENDING) {
      return settle_mode();
    }
    if (const Status ready = poll_for(message_.get(), POLLOUT, wait); !ready) {
      return ready;
    }
  }
  return {};
}

// Mapping is the faster way, not the only one: whatever hinders it leaves the end in file mode.
Status End::settle_mode() {
  if ((flags_ & FLOWFS_FILE_MODE) == 0) {
    if (auto made = Attachment::attach(mount_, id_, message_.get())) {
      if ((flags_ & FLOWFS_NO_POOL) == 0) {
        (*made)->join_pool(mount_);
      }
      const auto pid = static_cast<int>(
          pool::shared((*made)->status().peer_pid).load(std::memory_order_relaxed));
      const SpinBudget spin(spin_policy(flags_), shares_only_processor(pid));
      mapped_ = std::make_unique<Mapped>(std::move(*made), spin);
      if (polled_.load(std::memory_order_relaxed)) {
        mapped_->sender.ring_when_ready();
        mapped_->receiver.ring_when_ready();
      }
      // release, pairs with mode().
      mode_.store(Mode::mapped, std::memory_order_release);
      return {};
    }
  }
  mode_.store(Mode::file, std::memory_order_release);
  return {};
}

std::uint64_t End::pool() const {
  return mode() == Mode::mapped && mapped_->attachment->shares_pool()
             ? mapped_->attachment->seat->member->serial()
             : 0;
}

std::string End::file(const char* name) const {
  return mount_ + "/flows/" + std::to_string(id_) + "/" + name;
}

Status End::control(const char* verb) const {
  const Fd ctl(::open(file("ctl").c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
  const std::string_view text(verb);
  if (!ctl || ::write(ctl.get(), text.data(), text.size()) < 0) {
    return fail_errno("ctl");
  }
  return {};
}

// Through the daemon in both modes: it ends the lanes where they are, and tells both ends.
Status End::shut_down(bool receiving, bool sending) {
  if (mode() == Mode::forked) {
    return fail(EBADF, "the parent's");
  }
  if (receiving) {
    if (const Status done = control("shutdown read"); !done) {
      return done;
    }
  }
  if (sending) {
    if (const Status done = control("shutdown write"); !done) {
      return done;
    }
    // A thread of ours that waits for room sleeps on the peer's bell, which nobody rings for this.
    while (mode() == Mode::mapped && !send_mutex_.try_lock()) {
      mapped_->sender.nudge();
      std::this_thread::yield();
    }
    if (mode() == Mode::mapped) {
      send_mutex_.unlock();
    }
  }
  return {};
}

Result<int> End::descriptor() {
  if (mode() == Mode::forked) {
    return fail(EBADF, "the parent's");
  }
  const std::lock_guard lock(mode_mutex_);
  polled_.store(true, std::memory_order_relaxed);
  if (mapped_) {
    mapped_->sender.ring_when_ready();
    mapped_->receiver.ring_when_ready();
  }
  return message_.get();
}

std::uint64_t End::id() const { return mode() == Mode::forked ? 0 : id_; }

Result<std::uint32_t> End::state() const {
  static constexpr std::array<std::string_view, 6> kNames = {
      "none",      "alloc-pending",   "accept-pending",
      "allocated", "dealloc-pending", "deallocated"};  // by FLOWFS_STATE_*
  if (mode() == Mode::forked) {
    return fail(EBADF, "the parent's");
  }
  auto text = read_file(file("state"));
  if (!text) {
    return std::unexpected(text.error());
  }
  const std::string_view word(text->data(), std::min(text->find('\n'), text->size()));
  const auto* found = std::ranges::find(kNames, word);
  if (found == kNames.end()) {
    return fail(EPROTO, "state");
  }
  return static_cast<std::uint32_t>(found - kNames.begin());
}

Result<flowfs_peer> End::peer() const {
  if (mode() == Mode::forked) {
    return fail(EBADF, "the parent's");
  }
  const auto text = read_file(file("peer"));
  if (!text) {
    return std::unexpected(text.error());
  }
  const auto flow = number_of(*text, "flow");
  const auto uid = number_of(*text, "uid");
  const auto gid = number_of(*text, "gid");
  const auto pid = number_of(*text, "pid");
  if (!flow || !uid || !gid || !pid) {
    return fail(ENOTCONN, "peer");
  }
  return flowfs_peer{.flow = *flow,
                     .uid = static_cast<uid_t>(*uid),
                     .gid = static_cast<gid_t>(*gid),
                     .pid = static_cast<pid_t>(*pid)};
}

void End::abandon() {
  if (mapped_) {
    // The mappings are not in this process (MADV_DONTFORK), and their addresses may serve others
    // by now: neither unmapped nor destroyed.
    mapped_->attachment->tx_fd.reset();
    // NOLINTNEXTLINE(bugprone-unused-return-value): left behind, as said
    static_cast<void>(mapped_.release());
  }
  message_.reset();
  mode_.store(Mode::forked, std::memory_order_release);
}

}  // namespace flowfs::lib
