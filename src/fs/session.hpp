// SPDX-License-Identifier: BSD-3-Clause
// The FUSE session: mounts, reads requests through the loop's ring, hands them to libfuse,
// unmounts.
//
// Threads: the loop's. Owns: the mount.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/loop.hpp"
#include "fs/fuse_api.hpp"
#include "fs/server.hpp"
#include "fs/throttle.hpp"

namespace flowfs::fs {

class Tree;

class Session {
 public:
  // `on_gone` runs once when the mount has gone by itself.
  static Result<std::unique_ptr<Session>> mount(Loop& loop, Tree& tree, registry::Users& users,
                                                const Options& options,
                                                std::function<void()> on_gone);
  ~Session();  // unmounts
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] fuse_session* raw() const { return session_; }
  [[nodiscard]] Throttle& throttle() { return throttle_; }
  // Requests refused because the daemon had no memory.
  [[nodiscard]] std::uint64_t out_of_memory() const { return out_of_memory_; }

 private:
  Session(Loop& loop, registry::Users& users, fuse_session* session, const Options& options,
          std::function<void()> on_gone);
  void read_next();
  void deliver(std::span<std::byte> request);
  bool refuse_new_work(std::span<const std::byte> request);
  bool refuse(std::span<const std::byte> request, int error);
  void on_request(std::int32_t result);
  bool serve(std::int32_t result);
  std::int32_t look_for_next();

  fuse_session* session_;
  bool may_look_;  // there is more than one processor
  Instant::duration look_;
  unsigned looks_ = 0;
  std::function<void()> on_gone_;
  Throttle throttle_;
  std::shared_ptr<std::vector<std::byte>> buffer_;
  Loop::Reader reader_;
  std::uint64_t out_of_memory_ = 0;
};

}  // namespace flowfs::fs
