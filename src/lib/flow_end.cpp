// SPDX-License-Identifier: BSD-3-Clause
#include "lib/flow_end.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "pool/bell.hpp"
#include "pool/shared.hpp"

namespace flowfs::lib {
namespace {

std::string file_of(const std::string& mount, std::uint64_t flow, const char* name) {
  return mount + "/flows/" + std::to_string(flow) + "/" + name;
}

}  // namespace

// For both directions; or for the one that the flags name, or that the mode of the file leaves to
// this user: what a shell says with > or <.
Result<End::MessageFile> FlowEnd::open_allowed(const std::string& path, unsigned flags,
                                               const Wait& wait) {
  const int wanted = access_of(flags);
  auto opened = open_message(AT_FDCWD, path, wanted, wait);
  for (const int access : {O_WRONLY, O_RDONLY}) {
    if (wanted == O_RDWR && !opened && opened.error().error == EACCES) {
      opened = open_message(AT_FDCWD, path, access, wait);
    }
  }
  return opened;
}

Result<std::unique_ptr<End>> FlowEnd::open(Role role, const std::string& mount,
                                           const std::string& name, unsigned flags,
                                           const Wait& wait) {
  const char* file = role == Role::client ? "/dial" : "/accept";
  auto message = open_allowed(mount + "/names/" + name + file, flags, wait);
  if (!message) {
    return std::unexpected(message.error());
  }
  FileSender::Mtu mtu{.file = file_of(mount, message->id, "stats"), .key = "mtu"};
  auto end =
      std::unique_ptr<FlowEnd>(new FlowEnd(std::move(*message), mount, flags, std::move(mtu)));
  const Status up = end->establish(wait);
  if (!up && (wait.blocks || up.error().error != EAGAIN)) {
    return std::unexpected(up.error());
  }
  return end;
}

// Waits for the peer, then decides for a mode.
Status FlowEnd::come_up(const Wait& wait) {
  while (true) {
    const auto now = state();
    if (!now) {
      return std::unexpected(now.error());
    }
    if (*now == FLOWFS_STATE_DEALLOCATED) {
      return why_it_failed();
    }
    if (*now != FLOWFS_STATE_ALLOC_PENDING && *now != FLOWFS_STATE_ACCEPT_PENDING) {
      settle_mode();
      return {};
    }
    if (const Status ready = poll_for(message(), POLLOUT, wait); !ready) {
      return ready;
    }
  }
}

// Asks with a byte: nothing can have come that it could take, and there is nobody to send it to.
Status FlowEnd::why_it_failed() const {
  std::byte byte{};
  // NOLINTNEXTLINE(clang-analyzer-unix.BlockInCriticalSection): O_NONBLOCK
  const auto got = may_receive() ? ::read(message(), &byte, 1) : ::write(message(), &byte, 1);
  return got < 0 ? fail_errno("dial") : fail(ECONNRESET, "the flow has gone");
}

// Mapping is the faster way, not the only one: whatever hinders it leaves the end in file mode.
void FlowEnd::settle_mode() {
  std::unique_ptr<Mapped> sides;
  if ((flags() & FLOWFS_FILE_MODE) == 0) {
    if (auto made = Attachment::attach(mount(), id(), message())) {
      if ((flags() & FLOWFS_NO_POOL) == 0) {
        (*made)->join_pool(mount());
      }
      const auto pid = static_cast<int>(
          pool::shared((*made)->status().peer_pid).load(std::memory_order_relaxed));
      const SpinBudget spin(spin_policy(flags()), shares_only_processor(pid));
      sides = std::make_unique<Mapped>(std::move(*made), spin);
    }
  }
  mapped_ = sides.get();
  settle_as(std::move(sides));
}

std::uint64_t FlowEnd::pool() const {
  if (!is_mapped() || !mapped_->attachment().shares_pool()) {
    return 0;
  }
  return mapped_->attachment().seat->member->serial();
}

std::string FlowEnd::file(const char* name) const { return file_of(mount(), id(), name); }

// After a restart another daemon may have given this end's number to another flow of the same user.
// The message file is only this end's.
Status FlowEnd::is_served() const {
  std::uint64_t id = 0;
  return ::ioctl(message(), FLOWFS_IOC_ID, &id) == 0 ? Status{} : fail_errno("the flow's daemon");
}

Result<std::string> FlowEnd::read(const char* name) const {
  if (const Status served = is_served(); !served) {
    return std::unexpected(served.error());
  }
  return read_file(file(name));
}

Status FlowEnd::control(const char* verb) const {
  if (Status served = is_served(); !served) {
    return served;
  }
  const Fd ctl(::open(file("ctl").c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
  const std::string_view text(verb);
  if (!ctl || ::write(ctl.get(), text.data(), text.size()) < 0) {
    return fail_errno("ctl");
  }
  return {};
}

// Behind the last commit: a reader looks once more before it believes that this is the end.
void FlowEnd::Mapped::tell_peer(std::uint32_t what) const {
  flowfs_segment& own = attachment_->own();
  // release, pairs with the acquire loads of the peer's two directions.
  pool::shared(own.shutdown).fetch_or(what, std::memory_order_release);
  pool::Bell::ring(own);
}

// Through the daemon in both modes: it ends the lanes where they are, and tells both ends. Without
// it a mapped end can still say to its peer that it sends no more.
Status FlowEnd::shut_down(bool receiving, bool sending) {
  if (Status ours = is_ours(); !ours) {
    return ours;
  }
  if (receiving) {
    if (const Status done = control("shutdown read"); !done) {
      return done;
    }
  }
  if (sending) {
    if (Status done = control("shutdown write"); !done) {
      if (!is_mapped() || is_served()) {
        return done;
      }
      mapped_->tell_peer(FLOWFS_SHUT_SEND);
    }
    // A thread of ours that waits for room sleeps on the peer's bell, which nobody rings for this.
    while (is_mapped() && !send_mutex().try_lock()) {
      mapped_->sending().nudge();
      std::this_thread::yield();
    }
    if (is_mapped()) {
      send_mutex().unlock();
    }
  }
  return {};
}

Result<std::uint32_t> FlowEnd::state() const {
  if (const Status ours = is_ours(); !ours) {
    return std::unexpected(ours.error());
  }
  std::uint32_t now = 0;
  if (::ioctl(message(), FLOWFS_IOC_STATE, &now) != 0) {
    return fail_errno("state");
  }
  return now;
}

Result<flowfs_peer> FlowEnd::peer() const {
  if (const Status ours = is_ours(); !ours) {
    return std::unexpected(ours.error());
  }
  const auto text = read("peer");
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

}  // namespace flowfs::lib
