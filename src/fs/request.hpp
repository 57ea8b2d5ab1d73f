// SPDX-License-Identifier: BSD-3-Clause
// A FUSE request and its answer: the one place where failures become errnos and are counted.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>

#include "base/result.hpp"
#include "fs/fuse_api.hpp"
#include "registry/types.hpp"

namespace flowfs::fs {

enum class Op : std::uint8_t {
  lookup,
  getattr,
  setattr,
  readlink,
  mknod,
  mkdir,
  unlink,
  rmdir,
  symlink,
  rename,
  link,
  open,
  read,
  write,
  flush,
  release,
  opendir,
  readdir,
  setxattr,
  getxattr,
  listxattr,
  removexattr,
  create,
  lock,
  ioctl,
  poll,
  memory,  // over the socket beside the mount
  vde,     // clients of Ethernet buses, over those of DIR.vde
  count,
};
inline constexpr std::size_t kOps = static_cast<std::size_t>(Op::count);
std::string_view to_string(Op op);

// A request that has not been answered yet. Copyable; exactly one copy may be answered, once.
struct Request {
  fuse_req_t raw = nullptr;
  Op op{};

  [[nodiscard]] registry::Opener opener() const {
    const fuse_ctx* context = fuse_req_ctx(raw);
    return {context->uid, context->gid, context->pid};
  }
  [[nodiscard]] uid_t uid() const { return fuse_req_ctx(raw)->uid; }
};

// What was asked and what was refused, for `metrics`.
class RequestCounters {
 public:
  void asked(Op op) { ++asked_[static_cast<std::size_t>(op)]; }
  void refused(Op op, int error) { ++refused_[{op, error}]; }
  [[nodiscard]] std::uint64_t asked_count(Op op) const {
    return asked_[static_cast<std::size_t>(op)];
  }
  [[nodiscard]] const std::map<std::pair<Op, int>, std::uint64_t>& refusals() const {
    return refused_;
  }

 private:
  std::array<std::uint64_t, kOps> asked_{};
  std::map<std::pair<Op, int>, std::uint64_t> refused_;
};

// Answers `request` with an errno (0: plain success without data) and counts a refusal.
class Replies {
 public:
  explicit Replies(RequestCounters& counters) : counters_(counters) {}

  void error(Request request, int error) {
    if (error != 0) {
      counters_.refused(request.op, error);
    }
    fuse_reply_err(request.raw, error);
  }
  void status(Request request, const Status& status) {
    error(request, status ? 0 : status.error().error);
  }

 private:
  RequestCounters& counters_;
};

// The daemon's own limit of descriptors is not the caller's.
inline int errno_for_caller(int error) { return error == EMFILE ? ENFILE : error; }

}  // namespace flowfs::fs
