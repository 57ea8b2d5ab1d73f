// SPDX-License-Identifier: BSD-3-Clause
// async_reads HOW FD...: asks for a message from each descriptor at once. Prints `submitting`, then
// `FD RESULT [DATA]` for each as it completes. HOW is one of
//   aio         libaio's system calls
//   plain       IORING_OP_READ, which the kernel tries at once and then waits for by poll
//   worker      IORING_OP_READ with IOSQE_ASYNC
//   poll        IORING_OP_POLL_ADD, then read(2)
#include <liburing.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

namespace {

struct Read {
  int fd = -1;
  std::array<char, 4096> buffer{};
};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void report(const Read& read, long result) {
  if (result > 0) {
    std::printf("%d %ld %.*s\n", read.fd, result, static_cast<int>(result), read.buffer.data());
  } else {
    std::printf("%d %ld\n", read.fd, result);
  }
  std::fflush(stdout);
}

int with_aio(std::vector<Read>& reads) {
  aio_context_t context = 0;
  if (syscall(SYS_io_setup, static_cast<unsigned>(reads.size()), &context) != 0) {
    die("io_setup");
  }
  std::vector<iocb> blocks(reads.size());
  std::vector<iocb*> pointers;
  for (std::size_t i = 0; i < reads.size(); ++i) {
    blocks[i].aio_data = i;
    blocks[i].aio_lio_opcode = IOCB_CMD_PREAD;
    blocks[i].aio_fildes = static_cast<std::uint32_t>(reads[i].fd);
    blocks[i].aio_buf = reinterpret_cast<std::uint64_t>(reads[i].buffer.data());
    blocks[i].aio_nbytes = reads[i].buffer.size();
    pointers.push_back(&blocks[i]);
  }
  if (syscall(SYS_io_submit, context, pointers.size(), pointers.data()) !=
      static_cast<long>(pointers.size())) {
    die("io_submit");
  }
  for (std::size_t left = reads.size(); left > 0; --left) {
    io_event event{};
    if (syscall(SYS_io_getevents, context, 1L, 1L, &event, nullptr) != 1) {
      die("io_getevents");
    }
    report(reads[event.data], static_cast<long>(event.res));
  }
  return 0;
}

// The requests of one way to use the ring, and what a completion means.
class Ring {
 public:
  explicit Ring(std::string_view how) : how_(how) {
    if (io_uring_queue_init(256, &ring_, 0) != 0) {
      die("io_uring_queue_init");
    }
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() { io_uring_queue_exit(&ring_); }

  int run(std::vector<Read>& reads) {
    for (Read& read : reads) {
      submit(read);
    }
    if (io_uring_submit(&ring_) < 0) {
      die("io_uring_submit");
    }
    for (std::size_t left = reads.size(); left > 0; --left) {
      io_uring_cqe* completion = nullptr;
      if (io_uring_wait_cqe(&ring_, &completion) != 0) {
        die("io_uring_wait_cqe");
      }
      finish(*completion);
      io_uring_cqe_seen(&ring_, completion);
    }
    return 0;
  }

 private:
  void submit(Read& read) {
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    if (how_ == "poll") {
      io_uring_prep_poll_add(entry, read.fd, POLLIN);
    } else {
      io_uring_prep_read(entry, read.fd, read.buffer.data(),
                         static_cast<unsigned>(read.buffer.size()), 0);
      io_uring_sqe_set_flags(entry, how_ == "worker" ? IOSQE_ASYNC : 0U);
    }
    io_uring_sqe_set_data(entry, &read);
  }

  void finish(const io_uring_cqe& completion) {
    Read& read = *static_cast<Read*>(io_uring_cqe_get_data(&completion));
    if (how_ == "poll") {
      report(read, ::read(read.fd, read.buffer.data(), read.buffer.size()));
      return;
    }
    report(read, completion.res);
  }

  std::string_view how_;
  io_uring ring_{};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: async_reads aio|plain|worker|poll FD...\n");
    return 2;
  }
  std::vector<Read> reads(static_cast<std::size_t>(argc) - 2);
  for (std::size_t i = 0; i < reads.size(); ++i) {
    reads[i].fd = std::atoi(argv[i + 2]);
  }
  std::puts("submitting");
  std::fflush(stdout);
  const std::string_view how = argv[1];
  return how == "aio" ? with_aio(reads) : Ring(how).run(reads);
}
