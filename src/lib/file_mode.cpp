// SPDX-License-Identifier: BSD-3-Clause
#include "lib/file_mode.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "lib/end.hpp"

namespace flowfs::lib {
namespace {

// Most messages are short; none is as long as the longest buffer.
constexpr std::size_t kFirstBuffer = 64 * 1024;
constexpr std::size_t kLongestBuffer = 1024 * 1024 * 1024;

}  // namespace

Status poll_for(int fd, short events, const Wait& wait) {
  while (true) {
    timespec left{};
    if (wait.deadline() != kNever) {
      const auto rest = std::max(wait.deadline() - Clock::now(), Clock::duration::zero());
      const auto seconds = std::chrono::floor<std::chrono::seconds>(rest);
      left = {.tv_sec = seconds.count(), .tv_nsec = (rest - seconds).count()};
    }
    pollfd wanted{.fd = fd, .events = events, .revents = 0};
    const int got = ::ppoll(&wanted, 1, wait.has_end() ? &left : nullptr, nullptr);
    if (got > 0) {
      return {};
    }
    if (got == 0) {
      return wait.timed_out();
    }
    if (errno != EINTR) {
      return fail_errno("poll");
    }
  }
}

// --- buffers ---

Buffers::Buffer Buffers::make(std::size_t bytes) {
  Buffer buffer = std::exchange(spare_, {});
  grow(buffer, bytes);
  buffer.used = bytes;
  return buffer;
}

void Buffers::grow(Buffer& buffer, std::size_t bytes) {
  if (buffer.room < bytes) {
    buffer = {.data = std::make_unique_for_overwrite<std::byte[]>(bytes), .room = bytes, .used = 0};
  }
}

std::uint64_t Buffers::keep(Buffer buffer) {
  kept_.emplace(++last_id_, std::move(buffer));
  return last_id_;
}

std::span<std::byte> Buffers::find(std::uint64_t id) const {
  const auto found = kept_.find(id);
  return found == kept_.end() ? std::span<std::byte>{}
                              : std::span<std::byte>{found->second.data.get(), found->second.used};
}

void Buffers::drop(std::uint64_t id) {
  const auto found = kept_.find(id);
  spare_ = std::move(found->second);
  kept_.erase(found);
}

// --- sending ---

Status FileSender::ready_to_send() const {
  return loan_ ? fail(EBUSY, "a message is being written") : Status{};
}

Status FileSender::send(std::span<const std::byte> message, const Wait& wait) {
  if (Status ready = ready_to_send(); !ready) {
    return ready;
  }
  return put(message, wait);
}

Status FileSender::put(std::span<const std::byte> message, const Wait& wait) const {
  if (message.empty()) {
    return fail(EINVAL, "an empty message");
  }
  if (message.size() > kLongestBuffer) {
    return fail(EMSGSIZE, "longer than any mtu");
  }
  while (true) {
    if (::write(fd_, message.data(), message.size()) >= 0) {
      return {};
    }
    if (errno == EAGAIN && wait.blocks) {
      if (const Status ready = poll_for(fd_, POLLOUT, wait); !ready) {
        return ready;
      }
    } else if (errno != EINTR) {
      return fail_errno("write");
    }
  }
}

// In one buffer, since the kernel may make several requests, and so messages, of many pieces.
Status FileSender::send(Pieces message, const Wait& wait) {
  const std::size_t bytes = total_bytes(message);
  if (bytes > kLongestBuffer) {
    return fail(EMSGSIZE, "longer than any mtu");
  }
  Buffers::Buffer buffer = buffers_.make(bytes);
  const std::span<std::byte> whole{buffer.data.get(), bytes};
  gather(message, whole);
  const Status sent = send(std::span<const std::byte>(whole), wait);
  buffers_.reuse(std::move(buffer));
  return sent;
}

Result<std::size_t> FileSender::send_many(Pieces messages, const Wait& wait) {
  std::size_t sent = 0;
  for (const iovec& message : messages) {
    const Wait& patience = sent == 0 ? wait : kAtOnce;
    if (const Status done = send(std::span<const std::byte>(bytes_of(message)), patience); !done) {
      if (sent == 0) {
        return std::unexpected(done.error());
      }
      break;
    }
    ++sent;
  }
  return sent;
}

// Where it cannot be read, the commit finds out.
std::size_t FileSender::longest() {
  if (longest_ != 0) {
    return longest_;
  }
  const auto text = read_file(mtu_.file);
  if (!text) {
    return kLongestBuffer;
  }
  const bool fixed = !mtu_.key.empty();
  const auto mtu = fixed ? number_of(*text, mtu_.key) : number_of("mtu " + *text, "mtu");
  const std::size_t longest = mtu ? static_cast<std::size_t>(*mtu) : kLongestBuffer;
  longest_ = fixed ? longest : 0;
  return longest;
}

Result<Space> FileSender::loan(std::size_t bytes, std::size_t /*block_least*/,
                               const Wait& /*wait*/) {
  if (bytes == 0 || bytes > longest()) {
    return fail(bytes == 0 ? EINVAL : EMSGSIZE, "loan");
  }
  if (const Status ready = ready_to_send(); !ready) {
    return std::unexpected(ready.error());
  }
  loan_ = Loan{.buffer = buffers_.make(bytes), .id = ++last_id_};
  return Space{.bytes = {loan_->buffer.data.get(), bytes}, .id = loan_->id};
}

Status FileSender::commit(std::uint64_t id, std::size_t bytes, const Wait& wait) {
  if (!loan_ || loan_->id != id || bytes == 0 || bytes > loan_->buffer.used) {
    return fail(EINVAL, "no such loan");
  }
  const Status sent = put({loan_->buffer.data.get(), bytes}, wait);
  if (sent || (sent.error().error != EAGAIN && sent.error().error != ETIMEDOUT)) {
    end_loan();
  }
  return sent;
}

Status FileSender::cancel(std::uint64_t id) {
  if (!loan_ || loan_->id != id) {
    return fail(EINVAL, "no such loan");
  }
  end_loan();
  return {};
}

void FileSender::end_loan() {
  buffers_.reuse(std::move(loan_->buffer));
  loan_.reset();
}

Result<bool> FileSender::send_block(PooledMessage& message, const Wait& wait) {
  const Status sent = send(std::span<const std::byte>(message.bytes()), wait);
  return sent ? Result<bool>(false) : std::unexpected(sent.error());
}

// --- receiving ---

Result<std::size_t> FileReceiver::receive(std::span<std::byte> into, const Wait& wait) const {
  while (true) {
    // NOLINTNEXTLINE(clang-analyzer-unix.BlockInCriticalSection): O_NONBLOCK
    const ssize_t got = ::read(fd_, into.data(), into.size());
    if (got >= 0) {
      return static_cast<std::size_t>(got);
    }
    if (errno == EAGAIN && wait.blocks) {
      if (const Status ready = poll_for(fd_, POLLIN, wait); !ready) {
        return std::unexpected(ready.error());
      }
    } else if (errno != EINTR) {
      return fail_errno("read");
    }
  }
}

Result<std::size_t> FileReceiver::receive(Pieces into, const Wait& wait) {
  if (into.size() == 1) {
    return receive(bytes_of(into.front()), wait);
  }
  const std::size_t room = std::min(total_bytes(into), kLongestBuffer);
  Buffers::Buffer buffer = buffers_.make(room);
  const auto got = receive(std::span<std::byte>{buffer.data.get(), room}, wait);
  if (got) {
    scatter({buffer.data.get(), *got}, into);
  }
  buffers_.reuse(std::move(buffer));
  return got;
}

Result<std::size_t> FileReceiver::receive_many(std::span<iovec> into, const Wait& wait) {
  std::size_t count = 0;
  for (iovec& piece : into) {
    const Wait& patience = count == 0 ? wait : kAtOnce;
    const auto got = receive(bytes_of(piece), patience);
    if (!got && count == 0) {
      return got;
    }
    if (!got || *got == 0) {
      break;
    }
    piece.iov_len = *got;
    ++count;
  }
  return count;
}

Result<View> FileReceiver::borrow(const Wait& wait) {
  Buffers::Buffer buffer = buffers_.make(kFirstBuffer);
  auto got = receive(std::span<std::byte>{buffer.data.get(), buffer.room}, wait);
  while (!got && got.error().error == EMSGSIZE && buffer.room < kLongestBuffer) {
    Buffers::grow(buffer, 4 * buffer.room);
    got = receive(std::span<std::byte>{buffer.data.get(), buffer.room}, wait);
  }
  if (!got || *got == 0) {
    buffers_.reuse(std::move(buffer));
    return got ? Result<View>(View{}) : std::unexpected(got.error());
  }
  buffer.used = *got;
  const std::uint64_t id = buffers_.keep(std::move(buffer));
  return View{.bytes = buffers_.find(id), .id = id};
}

Status FileReceiver::release(std::uint64_t id) {
  if (buffers_.find(id).empty()) {
    return fail(EINVAL, "not borrowed");
  }
  buffers_.drop(id);
  return {};
}

Result<std::uint64_t> FileReceiver::skip() {
  std::uint64_t skipped = 0;
  while (::ioctl(fd_, FLOWFS_IOC_SKIP, &skipped) != 0) {
    if (errno != EINTR) {
      return errno == ENOTTY ? Receiver::skip() : fail_errno("skip");
    }
  }
  return skipped;
}

std::optional<View> FileReceiver::find_view(std::uint64_t id) const {
  const std::span<std::byte> bytes = buffers_.find(id);
  return bytes.empty() ? std::nullopt : std::optional(View{.bytes = bytes, .id = id});
}

}  // namespace flowfs::lib
