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

namespace flowfs {

using Timeout = std::chrono::microseconds;
inline constexpr Timeout kForever{FLOWFS_FOREVER};

// How an end is opened, as the arguments of flowfs_dial().
struct Opening {
  const char* mount = nullptr;
  unsigned flags = 0;
  Timeout timeout = kForever;
};

// One end of a flow. Move-only; a moved-from one may only be assigned to or destroyed.
class Flow {
 public:
  static Flow dial(const std::string& name, const Opening& how = {}) {
    return Flow(flowfs_dial(how.mount, name.c_str(), how.flags, how.timeout.count()),
                "flowfs_dial");
  }
  static Flow accept(const std::string& name, const Opening& how = {}) {
    return Flow(flowfs_accept(how.mount, name.c_str(), how.flags, how.timeout.count()),
                "flowfs_accept");
  }

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

  void shutdown(int how) { check(flowfs_shutdown(get(), how), "flowfs_shutdown"); }
  // For poll and epoll.
  [[nodiscard]] int fd() const { return check(flowfs_fd(get()), "flowfs_fd"); }
  [[nodiscard]] std::uint64_t id() const { return flowfs_id(get()); }
  [[nodiscard]] bool is_mapped() const { return flowfs_is_mapped(get()) == 1; }
  // FLOWFS_STATE_*
  [[nodiscard]] std::uint32_t state() const {
    return static_cast<std::uint32_t>(check(flowfs_state(get()), "flowfs_state"));
  }
  [[nodiscard]] flowfs_peer peer() const {
    flowfs_peer found{};
    check(flowfs_get_peer(get(), &found), "flowfs_get_peer");
    return found;
  }

  [[nodiscard]] flowfs_handle* get() const { return handle_.get(); }

 private:
  struct Close {
    void operator()(flowfs_handle* handle) const { flowfs_close(handle); }
  };

  Flow(flowfs_handle* handle, const char* call) : handle_(handle) {
    if (handle == nullptr) {
      throw std::system_error(errno, std::generic_category(), call);
    }
  }
  template <typename Answer>
  static Answer check(Answer answer, const char* call) {
    if (answer < 0) {
      throw std::system_error(errno, std::generic_category(), call);
    }
    return answer;
  }
  static bool would_block(ssize_t answer) { return answer < 0 && errno == EAGAIN; }

  std::unique_ptr<flowfs_handle, Close> handle_;
};

}  // namespace flowfs

#endif
