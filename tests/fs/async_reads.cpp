// SPDX-License-Identifier: BSD-3-Clause
// async_reads aio|uring FD...: one read of each descriptor, submitted at once through libaio's
// system calls or through io_uring. Prints `submitting`, then `FD RESULT [DATA]` for each as it
// completes.
#include <liburing.h>
#include <linux/aio_abi.h>
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

int with_uring(std::vector<Read>& reads, unsigned flags) {
  io_uring ring{};
  if (io_uring_queue_init(256, &ring, 0) != 0) {
    die("io_uring_queue_init");
  }
  for (Read& read : reads) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    io_uring_prep_read(entry, read.fd, read.buffer.data(),
                       static_cast<unsigned>(read.buffer.size()), 0);
    io_uring_sqe_set_data(entry, &read);
    io_uring_sqe_set_flags(entry, flags);
  }
  if (io_uring_submit(&ring) < 0) {
    die("io_uring_submit");
  }
  for (std::size_t left = reads.size(); left > 0; --left) {
    io_uring_cqe* completion = nullptr;
    if (io_uring_wait_cqe(&ring, &completion) != 0) {
      die("io_uring_wait_cqe");
    }
    report(*static_cast<Read*>(io_uring_cqe_get_data(completion)), completion->res);
    io_uring_cqe_seen(&ring, completion);
  }
  io_uring_queue_exit(&ring);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: async_reads aio|uring|uring-plain FD...\n");
    return 2;
  }
  std::vector<Read> reads(static_cast<std::size_t>(argc) - 2);
  for (std::size_t i = 0; i < reads.size(); ++i) {
    reads[i].fd = std::atoi(argv[i + 2]);
  }
  std::puts("submitting");
  std::fflush(stdout);
  const std::string_view how = argv[1];
  if (how == "aio") {
    return with_aio(reads);
  }
  return with_uring(reads, how == "uring" ? IOSQE_ASYNC : 0);
}
