// SPDX-License-Identifier: BSD-3-Clause
// DIR.sock beside the mount: hands out shared memory where the mount cannot map it
// (include/flowfs/wire.h, "the socket").
//
// Whoever can reach the socket may connect; what they get is decided for the identity they had
// then. One request is served in a turn of the loop, nothing is kept for a connection, and one that
// does not take its answer is closed. No descriptor is ever taken from a client (threats.md R14).
//
// Threads: the loop's. Never touches the mount.
// Errors: those of socket, bind and listen; ENAMETOOLONG.
// Owns: the socket, its file, and the connections, each charged to its uid as a descriptor.
// Invariants:
//   1. `connections_` is ordered by when they were last heard of, the longest ago first.
//   2. The timer is armed only while there are connections.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "base/loop.hpp"
#include "flowfs/wire.h"
#include "fs/access.hpp"
#include "fs/listener.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

class MemorySocket {
 public:
  // The descriptor of what is asked for, which stays the owner's; or why not.
  using Answer = std::function<Result<int>(const flowfs_memory_request&, const Caller&)>;

  // How long a connection may be silent.
  static constexpr Micros kPatience{5'000'000};
  // Of one uid; more are closed at once.
  static constexpr std::size_t kMostOfUid = 64;
  // Of all; the one silent for longest makes room.
  static constexpr std::size_t kMost = 1024;

  static Result<std::unique_ptr<MemorySocket>> listen(Loop& loop, registry::Users& users,
                                                      const std::string& path, Answer answer);
  ~MemorySocket();
  MemorySocket(const MemorySocket&) = delete;
  MemorySocket& operator=(const MemorySocket&) = delete;

  [[nodiscard]] std::size_t connections() const { return connections_.size(); }

 private:
  struct Connection {
    Fd socket;
    uid_t uid;
    gid_t gid;
    registry::Charge charge;
    Instant heard;
    Loop::Watch watch;
  };
  using Place = std::list<Connection>::iterator;

  MemorySocket(Loop& loop, registry::Users& users, Fd socket, std::string path, Answer answer);
  void admit(Fd socket, const ucred& peer);
  void serve(Place connection);
  // False when the connection is to end.
  bool answer_one(const Connection& connection);
  void tick();

  Loop& loop_;
  registry::Users& users_;
  std::string path_;
  Answer answer_;
  Loop::Timer timer_;
  std::list<Connection> connections_;
  Listener listener_;
};

}  // namespace flowfs::fs
