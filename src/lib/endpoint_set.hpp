// SPDX-License-Identifier: BSD-3-Clause
// Ends waited on together. Where all are mapped and their bells fit one futex_waitv nothing but
// shared memory is asked; else each end's descriptor is in an epoll set, which the daemon serves.
//
// Threads: one at a time. While one waits, another that takes messages from a member may take away
// what the wait was for.
// Errors: EAGAIN, ETIMEDOUT; EEXIST, ENOENT; those of epoll.
// Owns: the epoll set. Members are the caller's, and leave before they are closed.
#pragma once

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "lib/end.hpp"
#include "lib/spin.hpp"

namespace flowfs::lib {

class EndpointSet {
 public:
  // What the caller knows a member by, and what it is ready for (POLLIN, POLLOUT).
  struct Event {
    void* handle = nullptr;
    void* data = nullptr;
    std::uint32_t events = 0;
  };

  explicit EndpointSet(SpinPolicy spin) : spin_(spin, false) {}
  EndpointSet(const EndpointSet&) = delete;
  EndpointSet& operator=(const EndpointSet&) = delete;

  Status add(End& end, void* handle, void* data, std::uint32_t events);
  Status remove(const End& end);
  // Waits until a member is ready; how many are in `events`, which is not empty. One that was
  // passed over for want of room comes first in the next call.
  Result<std::size_t> wait(std::span<Event> events, const Wait& wait);

 private:
  struct Member {
    End* end = nullptr;
    void* handle = nullptr;
    void* data = nullptr;
    std::uint32_t interest = 0;
    bool registered = false;     // in the epoll set
    std::uint32_t reported = 0;  // what that said last, of one that is not mapped
  };
  std::size_t collect(std::span<Event> events);
  static std::uint32_t ready_for(const Member& member);
  [[nodiscard]] bool sleeps_on_bells() const;
  // False: somebody is ready.
  bool arm_all(std::vector<Doorbell>& bells);
  void disarm_all();
  Status sleep(const std::vector<Doorbell>& bells, Instant deadline);
  Status poll(int timeout_ms);
  Status register_all();

  std::vector<Member> members_;
  std::size_t first_ = 0;  // to be looked at
  Fd epoll_;
  bool no_waitv_ = false;
  SpinBudget spin_;
};

}  // namespace flowfs::lib
