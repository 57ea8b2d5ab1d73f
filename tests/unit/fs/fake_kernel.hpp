// SPDX-License-Identifier: BSD-3-Clause
// The kernel's side of a libfuse session, without a mount: it makes real requests and keeps what
// they are answered.
//
// Threads: one. Owns: the session. Every request must have been answered before it goes.
#pragma once

#include <fcntl.h>
#include <sys/uio.h>

#include <cstring>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "fs/fuse_api.hpp"

namespace flowfs::fs {

struct Answer {
  std::uint64_t unique;
  int error;  // an errno, or 0

  friend bool operator==(const Answer&, const Answer&) = default;
};

class FakeKernel {
 public:
  FakeKernel() {
    char program[] = "test";
    char* arguments[] = {program, nullptr};
    fuse_args args = FUSE_ARGS_INIT(1, arguments);
    fuse_lowlevel_ops operations{};
    operations.read = [](fuse_req_t request, fuse_ino_t, std::size_t, off_t, fuse_file_info*) {
      static_cast<FakeKernel*>(fuse_req_userdata(request))->request_ = request;
    };
    session_ = fuse_session_new(&args, &operations, sizeof operations, this);
    fuse_opt_free_args(&args);  // libfuse has made them its own
    FLOWFS_CHECK(session_ != nullptr);
    fuse_custom_io io{};
    io.writev = [](int, iovec* parts, int, void* self) {
      return static_cast<FakeKernel*>(self)->answered(parts);
    };
    io.read = [](int, void*, std::size_t, void*) -> ssize_t { return -1; };
    FLOWFS_CHECK(fuse_session_custom_io(session_, &io, sizeof io,
                                        open("/dev/null", O_RDWR | O_CLOEXEC)) == 0);
    const fuse_init_in hello{.major = FUSE_KERNEL_VERSION,
                             .minor = FUSE_KERNEL_MINOR_VERSION,
                             .max_readahead = 0,
                             .flags = 0,
                             .flags2 = 0,
                             .unused = {}};
    send(FUSE_INIT, 2, 0, hello);
    answers_.clear();
  }
  ~FakeKernel() { fuse_session_destroy(session_); }
  FakeKernel(const FakeKernel&) = delete;
  FakeKernel& operator=(const FakeKernel&) = delete;

  // A READ that is waiting for its answer.
  fuse_req_t read(std::uint64_t unique, uid_t uid) {
    request_ = nullptr;
    send(FUSE_READ, unique, uid, fuse_read_in{});
    FLOWFS_CHECK(request_ != nullptr);
    return request_;
  }
  void interrupt(std::uint64_t unique) {
    send(FUSE_INTERRUPT, unique | 1, 0, fuse_interrupt_in{.unique = unique});
  }
  [[nodiscard]] const std::vector<Answer>& answers() const { return answers_; }

 private:
  template <typename Argument>
  void send(fuse_opcode opcode, std::uint64_t unique, uid_t uid, const Argument& argument) {
    fuse_in_header header{};
    header.len = sizeof header + sizeof argument;
    header.opcode = opcode;
    header.unique = unique;
    header.nodeid = FUSE_ROOT_ID;
    header.uid = uid;
    std::vector<std::byte> bytes(header.len);
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(bytes.data() + sizeof header, &argument, sizeof argument);
    fuse_buf buffer{};
    buffer.size = bytes.size();
    buffer.mem = bytes.data();
    fuse_session_process_buf(session_, &buffer);
  }
  ssize_t answered(const iovec* parts) {
    fuse_out_header header{};
    std::memcpy(&header, parts[0].iov_base, sizeof header);
    answers_.push_back({header.unique, -header.error});
    return static_cast<ssize_t>(header.len);
  }

  fuse_session* session_ = nullptr;
  fuse_req_t request_ = nullptr;
  std::vector<Answer> answers_;
};

}  // namespace flowfs::fs
