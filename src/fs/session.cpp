// SPDX-License-Identifier: BSD-3-Clause
#include "fs/session.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>

#include "base/log.hpp"
#include "base/memory_reserve.hpp"
#include "fs/tree.hpp"

namespace flowfs::fs {
namespace {

// Of the longest request, as libfuse counts it.
constexpr std::size_t kHeaderBytes = 4096;

constexpr Instant::duration kShortestLook = std::chrono::microseconds(1);
constexpr Instant::duration kLongestLook = std::chrono::microseconds(50);
constexpr unsigned kProbeEvery = 64;
constexpr int kMostAtOnce = 64;

std::string mount_options(const Options& options) {
  std::string text = "default_permissions,nosuid,nodev,noexec,fsname=flowfs,subtype=flowfs";
  if (options.allow_other) {
    text += ",allow_other";
  }
  return text;
}

// libfuse lets no program that reads requests by itself ask for more than 256 pages. The field is
// in the answer, so it is put there on its way.
void ask_for_longer_requests(std::span<iovec> answer, std::size_t bytes) {
  constexpr std::size_t kNeeded = offsetof(fuse_init_out, max_pages) + sizeof(std::uint16_t);
  if (answer.size() < 2 || answer[1].iov_len < kNeeded) {
    return;  // a refusal
  }
  auto& out = *static_cast<fuse_init_out*>(answer[1].iov_base);
  out.max_write = static_cast<std::uint32_t>(bytes);
  out.max_pages = static_cast<std::uint16_t>(bytes / kPageBytes);
}

ssize_t write_answer(int fd, iovec* parts, int count, void* tree) {
  auto& self = *static_cast<Tree*>(tree);
  if (self.take_init()) {
    ask_for_longer_requests({parts, static_cast<std::size_t>(count)}, self.request_bytes());
  }
  return ::writev(fd, parts, count);
}

ssize_t read_request(int fd, void* buffer, std::size_t bytes, void* /*tree*/) {
  return ::read(fd, buffer, bytes);
}

constexpr fuse_custom_io kDevice{.writev = write_answer,
                                 .read = read_request,
                                 .splice_receive = nullptr,
                                 .splice_send = nullptr,
                                 .clone_fd = nullptr};

Result<fuse_session*> new_session(Tree& tree, const Options& options) {
  const std::string text = mount_options(options);
  fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
  const bool added = fuse_opt_add_arg(&arguments, "flowfsd") == 0 &&
                     fuse_opt_add_arg(&arguments, "-o") == 0 &&
                     fuse_opt_add_arg(&arguments, text.c_str()) == 0;
  const fuse_lowlevel_ops operations = Tree::operations();
  fuse_session* session =
      added ? fuse_session_new(&arguments, &operations, sizeof operations, &tree) : nullptr;
  fuse_opt_free_args(&arguments);
  if (session == nullptr) {
    return fail(EINVAL, "making a FUSE session");
  }
  return session;
}

}  // namespace

Result<std::unique_ptr<Session>> Session::mount(Loop& loop, Tree& tree, registry::Users& users,
                                                const Options& options,
                                                std::function<void()> on_gone) {
  const auto raw = new_session(tree, options);
  if (!raw) {
    return std::unexpected(raw.error());
  }
  errno = 0;
  if (fuse_session_mount(*raw, options.mount_point.c_str()) != 0) {
    const int error = errno != 0 ? errno : EIO;
    fuse_session_destroy(*raw);
    return fail(error, "mounting");
  }
  if (const int refused =
          fuse_session_custom_io(*raw, &kDevice, sizeof kDevice, fuse_session_fd(*raw));
      refused != 0) {
    fuse_session_unmount(*raw);
    fuse_session_destroy(*raw);
    return fail(-refused, "taking over the FUSE device");
  }
  std::unique_ptr<Session> session(new Session(loop, users, *raw, options, std::move(on_gone)));
  const int fd = fuse_session_fd(*raw);
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    return fail_errno("preparing the FUSE device");
  }
  session->buffer_ = std::make_shared<std::vector<std::byte>>(tree.request_bytes() + kHeaderBytes);
  session->reader_ =
      loop.reader(fd, [self = session.get()](std::int32_t result) { self->on_request(result); });
  session->read_next();
  return session;
}

Session::~Session() {
  reader_ = {};
  fuse_session_unmount(session_);
  fuse_session_destroy(session_);
}

Session::Session(Loop& loop, registry::Users& users, fuse_session* session, const Options& options,
                 std::function<void()> on_gone)
    : session_(session),
      may_look_(std::thread::hardware_concurrency() > 1),
      look_(kShortestLook),
      on_gone_(std::move(on_gone)),
      throttle_(
          loop, users, options.requests_per_second, longest_park(),
          [this](std::span<std::byte> request) { deliver(request); },
          [this](std::span<const std::byte> request, int error) { refuse(request, error); }) {}

void Session::deliver(std::span<std::byte> request) {
  fuse_buf buffer{};
  buffer.mem = request.data();
  buffer.size = request.size();
  fuse_session_process_buf(session_, &buffer);
}

// Out of memory: what would begin something is answered ENOMEM without being parsed. What ends
// something, or looks, goes on.
bool Session::refuse_new_work(std::span<const std::byte> request) {
  switch (header_of(request).opcode) {
    case FUSE_OPEN:
    case FUSE_WRITE:
    case FUSE_MKDIR:
    case FUSE_SYMLINK:
    case FUSE_OPENDIR:
    case FUSE_SETXATTR:
    case FUSE_IOCTL:
      break;
    default:
      return false;
  }
  ++out_of_memory_;
  return refuse(request, ENOMEM);
}

// Answers without libfuse, which has not seen the request.
bool Session::refuse(std::span<const std::byte> request, int error) {
  const fuse_out_header answer{
      .len = sizeof(fuse_out_header), .error = -error, .unique = header_of(request).unique};
  return ::write(fuse_session_fd(session_), &answer, sizeof answer) == sizeof answer;
}

void Session::read_next() { reader_.read(*buffer_, buffer_); }

// The next request often follows within microseconds, and on a machine with an idle core waking us
// for it costs ten times what serving it does: so look for it a while before going to sleep. The
// while doubles when that was worth it and halves when it was not; a long look now and then finds
// out that times have changed.
std::int32_t Session::look_for_next() {
  const bool probe = ++looks_ % kProbeEvery == 0;
  const Instant end = Clock::now() + (probe ? kLongestLook : look_);
  for (;;) {
    const ssize_t bytes = ::read(fuse_session_fd(session_), buffer_->data(), buffer_->size());
    if (bytes >= 0 || errno != EAGAIN) {
      look_ = std::min(2 * look_, kLongestLook);
      return bytes >= 0 ? static_cast<std::int32_t>(bytes) : -errno;
    }
    if (Clock::now() >= end) {
      look_ = probe ? look_ : std::max(look_ / 2, kShortestLook);
      return -EAGAIN;
    }
  }
}

// Serves one, and as many more as come at once; the rest of the loop has its turn in between.
void Session::on_request(std::int32_t result) {
  for (int served = 0; result != -EAGAIN; ++served) {
    if (!serve(result)) {
      return;
    }
    if (served == kMostAtOnce || !may_look_) {
      break;
    }
    result = look_for_next();
  }
  read_next();
}

// False when the mount has gone.
bool Session::serve(std::int32_t result) {
  if (result > 0) {
    const std::span<std::byte> request(buffer_->data(), static_cast<std::size_t>(result));
    if (!memory_reserve::exhausted() || !refuse_new_work(request)) {
      throttle_.admit(request);
    }
  } else if (result != -EINTR && result != -ENOENT) {
    // ENODEV: unmounted or aborted. (ENOENT: a request was interrupted before we could read it.)
    log::notice("the mount has gone: error=\"{}\"", Failure{-result, "reading"}.message());
    on_gone_();
    return false;
  }
  if (fuse_session_exited(session_) != 0) {
    on_gone_();
    return false;
  }
  return true;
}

}  // namespace flowfs::fs
