// SPDX-License-Identifier: BSD-3-Clause
// libflowfs in C++20: the calls of flowfs.h with an owner and spans. Header only; nothing but that
// C ABI is linked.
//
// Threads, fork: as flowfs.h.
// Errors: std::system_error with the errno of flowfs.h; the try_ calls return nothing, or false,
// for EAGAIN.
#ifndef FLOWFS_FLOWFS_HPP
#define FLOWFS_FLOWFS_HPP

#include <flowfs/flowfs.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace flowfs {

namespace detail {
template <typename Answer>
Answer check(Answer answer, const char* call) {
  if (answer < 0) {
    throw std::system_error(errno, std::generic_category(), call);
  }
  return answer;
}
inline bool would_block(ssize_t answer) { return answer < 0 && errno == EAGAIN; }
}  // namespace detail

using Timeout = std::chrono::microseconds;
inline constexpr Timeout kForever{FLOWFS_FOREVER};

// How an end is opened, as the arguments of flowfs_dial().
struct Opening {
  const char* mount = nullptr;
  unsigned flags = 0;
  Timeout timeout = kForever;
};

// Space for a message, to be written in place; cancelled when it is destroyed uncommitted.
// Move-only.
class Loan {
 public:
  Loan() = default;
  Loan(Loan&& other) noexcept : space_(std::exchange(other.space_, {})) {}
  Loan& operator=(Loan&& other) noexcept {
    if (this != &other) {
      flowfs_loan_cancel(&space_);
      space_ = std::exchange(other.space_, {});
    }
    return *this;
  }
  ~Loan() { flowfs_loan_cancel(&space_); }

  [[nodiscard]] std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(space_.data), space_.bytes};
  }
  explicit operator bool() const { return space_.handle != nullptr; }

  // Sends the first `bytes`. After a timeout it is still there to be committed.
  void commit(std::size_t bytes, Timeout timeout = kForever) {
    detail::check(flowfs_commit(&space_, bytes, timeout.count()), "flowfs_commit");
  }
  void commit() { commit(space_.bytes); }
  bool try_commit(std::size_t bytes) {
    const int sent = flowfs_commit(&space_, bytes, 0);
    return !detail::would_block(sent) && detail::check(sent, "flowfs_commit") == 0;
  }

 private:
  friend class Endpoint;
  flowfs_space space_{};
};

// A message where it lies; released when it is destroyed. Empty at the end of the flow. Move-only.
class Borrowed {
 public:
  Borrowed() = default;
  Borrowed(Borrowed&& other) noexcept : view_(std::exchange(other.view_, {})) {}
  Borrowed& operator=(Borrowed&& other) noexcept {
    if (this != &other) {
      flowfs_release(&view_);
      view_ = std::exchange(other.view_, {});
    }
    return *this;
  }
  ~Borrowed() { flowfs_release(&view_); }

  [[nodiscard]] std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(view_.data), view_.bytes};
  }
  explicit operator bool() const { return view_.handle != nullptr; }

  // Releases it now. False: it came from a lossy bus that may have written over it meanwhile, and
  // what was read of it is not to be believed.
  [[nodiscard]] bool release() {
    const int released = flowfs_release(&view_);
    return released == 0 || errno != ESTALE;
  }

 private:
  friend class Endpoint;
  flowfs_view view_{};
};

// What an end of a flow and a member of a bus do alike. Move-only; a moved-from one may only be
// assigned to or destroyed.
class Endpoint {
 public:
  void send(std::span<const std::byte> message, Timeout timeout = kForever) {
    check(flowfs_send(get(), message.data(), message.size(), timeout.count()), "flowfs_send");
  }
  bool try_send(std::span<const std::byte> message) {
    const int sent = flowfs_send(get(), message.data(), message.size(), 0);
    return !would_block(sent) && check(sent, "flowfs_send") == 0;
  }

  // The part of `buffer` that holds the message; empty at the end of the flow.
  std::span<std::byte> recv(std::span<std::byte> buffer, Timeout timeout = kForever) {
    const ssize_t got = flowfs_recv(get(), buffer.data(), buffer.size(), timeout.count());
    return buffer.first(static_cast<std::size_t>(check(got, "flowfs_recv")));
  }
  std::optional<std::span<std::byte>> try_recv(std::span<std::byte> buffer) {
    const ssize_t got = flowfs_recv(get(), buffer.data(), buffer.size(), 0);
    if (would_block(got)) {
      return std::nullopt;
    }
    return buffer.first(static_cast<std::size_t>(check(got, "flowfs_recv")));
  }

  // One message in pieces; iovec is that of <sys/uio.h>.
  void send(std::span<const iovec> pieces, Timeout timeout = kForever) {
    check(flowfs_sendv(get(), pieces.data(), static_cast<int>(pieces.size()), timeout.count()),
          "flowfs_sendv");
  }
  // Its length, 0 at the end of the flow.
  std::size_t recv(std::span<const iovec> pieces, Timeout timeout = kForever) {
    return static_cast<std::size_t>(
        check(flowfs_recvv(get(), pieces.data(), static_cast<int>(pieces.size()), timeout.count()),
              "flowfs_recvv"));
  }
  // A message in each. How many were sent, received.
  std::size_t send_many(std::span<const iovec> messages, Timeout timeout = kForever) {
    return static_cast<std::size_t>(
        check(flowfs_send_many(get(), messages.data(), static_cast<int>(messages.size()),
                               timeout.count()),
              "flowfs_send_many"));
  }
  std::size_t recv_many(std::span<iovec> messages, Timeout timeout = kForever) {
    return static_cast<std::size_t>(
        check(flowfs_recv_many(get(), messages.data(), static_cast<int>(messages.size()),
                               timeout.count()),
              "flowfs_recv_many"));
  }

  // Space for a message of up to `bytes`, which must not outlive the endpoint.
  [[nodiscard]] Loan loan(std::size_t bytes, Timeout timeout = kForever) {
    Loan lent;
    check(flowfs_loan(get(), bytes, timeout.count(), &lent.space_), "flowfs_loan");
    return lent;
  }
  // The next message, which must not outlive the endpoint; empty at the end of a flow.
  [[nodiscard]] Borrowed borrow(Timeout timeout = kForever) {
    Borrowed found;
    check(flowfs_borrow(get(), timeout.count(), &found.view_), "flowfs_borrow");
    return found;
  }
  [[nodiscard]] std::optional<Borrowed> try_borrow() {
    Borrowed found;
    const ssize_t got = flowfs_borrow(get(), 0, &found.view_);
    if (would_block(got)) {
      return std::nullopt;
    }
    check(got, "flowfs_borrow");
    return found;
  }
  // Sends on what was borrowed, from this endpoint or another, without a copy where that can be.
  void forward(Borrowed& message, Timeout timeout = kForever) {
    check(flowfs_forward(get(), &message.view_, timeout.count()), "flowfs_forward");
  }

  // SHUT_RD, SHUT_WR or SHUT_RDWR.
  void shutdown(int how) { check(flowfs_shutdown(get(), how), "flowfs_shutdown"); }

  // For poll and epoll.
  [[nodiscard]] int fd() const { return check(flowfs_fd(get()), "flowfs_fd"); }
  [[nodiscard]] std::uint64_t id() const { return flowfs_id(get()); }
  [[nodiscard]] bool is_mapped() const { return flowfs_is_mapped(get()) == 1; }
  // FLOWFS_STATE_*
  [[nodiscard]] std::uint32_t state() const {
    return static_cast<std::uint32_t>(check(flowfs_state(get()), "flowfs_state"));
  }

  [[nodiscard]] flowfs_handle* get() const { return handle_.get(); }

 protected:
  Endpoint(flowfs_handle* handle, const char* call) : handle_(handle) {
    if (handle == nullptr) {
      throw std::system_error(errno, std::generic_category(), call);
    }
  }
  template <typename Answer>
  static Answer check(Answer answer, const char* call) {
    return detail::check(answer, call);
  }

 private:
  struct Close {
    void operator()(flowfs_handle* handle) const { flowfs_close(handle); }
  };

  static bool would_block(ssize_t answer) { return detail::would_block(answer); }

  std::unique_ptr<flowfs_handle, Close> handle_;
};

// One end of a flow.
class Flow : public Endpoint {
 public:
  static Flow dial(const std::string& name, const Opening& how = {}) {
    return Flow(flowfs_dial(how.mount, name.c_str(), how.flags, how.timeout.count()),
                "flowfs_dial");
  }
  static Flow accept(const std::string& name, const Opening& how = {}) {
    return Flow(flowfs_accept(how.mount, name.c_str(), how.flags, how.timeout.count()),
                "flowfs_accept");
  }

  // As flowfs_block_least().
  void set_block_least(std::size_t bytes) { flowfs_block_least(get(), bytes); }
  // Serial of the pool shared with the peer now; 0: none.
  [[nodiscard]] std::uint64_t shared_pool() const { return flowfs_shared_pool(get()); }

  [[nodiscard]] flowfs_peer peer() const {
    flowfs_peer found{};
    check(flowfs_get_peer(get(), &found), "flowfs_get_peer");
    return found;
  }

 private:
  Flow(flowfs_handle* handle, const char* call) : Endpoint(handle, call) {}
};

// A member of a bus, until it is destroyed.
class Member : public Endpoint {
 public:
  // `flags`: FLOWFS_RECEIVE_ONLY and the like. `mount`: as flowfs_join().
  static Member join(const std::string& bus, unsigned flags = 0, const char* mount = nullptr) {
    return Member(flowfs_join(mount, bus.c_str(), flags), "flowfs_join");
  }

  // Passes over all that is unread but the newest message. How many.
  std::size_t skip() { return static_cast<std::size_t>(check(flowfs_skip(get()), "flowfs_skip")); }

 private:
  Member(flowfs_handle* handle, const char* call) : Endpoint(handle, call) {}
};

// Endpoints waited on together. They stay the caller's, and leave the set before they are
// destroyed.
class Set {
 public:
  // `flags`: FLOWFS_SPIN_*.
  explicit Set(unsigned flags = 0) : set_(flowfs_set_new(flags)) {
    if (!set_) {
      throw std::system_error(errno, std::generic_category(), "flowfs_set_new");
    }
  }
  // `events`: POLLIN, POLLOUT or both. `data` comes back with them.
  void add(const Endpoint& endpoint, unsigned events, void* data = nullptr) {
    detail::check(flowfs_set_add(set_.get(), endpoint.get(), events, data), "flowfs_set_add");
  }
  void remove(const Endpoint& endpoint) {
    detail::check(flowfs_set_remove(set_.get(), endpoint.get()), "flowfs_set_remove");
  }
  // The part of `events` that was filled in.
  std::span<flowfs_event> wait(std::span<flowfs_event> events, Timeout timeout = kForever) {
    const int count = flowfs_set_wait(set_.get(), events.data(), static_cast<int>(events.size()),
                                      timeout.count());
    return events.first(static_cast<std::size_t>(detail::check(count, "flowfs_set_wait")));
  }

 private:
  struct Free {
    void operator()(flowfs_set* set) const { flowfs_set_free(set); }
  };
  std::unique_ptr<flowfs_set, Free> set_;
};

}  // namespace flowfs

#endif
