// SPDX-License-Identifier: BSD-3-Clause
// epoll_many NAMEDIR FLOWS ROUNDS: a client process opens FLOWS flows and sends ROUNDS messages on
// each. The server process accepts them, passes every second descriptor to a helper thread's end of
// a Unix socket and takes it back (SCM_RIGHTS), and reads them all through one edge-triggered
// epoll. Prints `N messages`.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int open_end(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) {
    die(path.c_str());
  }
  return fd;
}

// Sends `fd` through a socket pair and returns what comes out; `fd` is closed in between.
int pass_over_socket(int fd) {
  std::array<int, 2> sockets{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    die("socketpair");
  }
  char byte = 'x';
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(int));
  if (sendmsg(sockets[0], &message, 0) != 1) {
    die("sendmsg");
  }
  close(fd);
  if (recvmsg(sockets[1], &message, MSG_CMSG_CLOEXEC) != 1) {
    die("recvmsg");
  }
  int received = -1;
  std::memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
  close(sockets[0]);
  close(sockets[1]);
  return received;
}

void run_client(const std::string& name, int flows, int rounds) {
  std::vector<int> ends;
  for (int i = 0; i < flows; ++i) {
    ends.push_back(open_end(name + "/dial", O_WRONLY));
  }
  for (int round = 0; round < rounds; ++round) {
    for (const int fd : ends) {
      if (write(fd, &round, sizeof round) != sizeof round) {
        die("write");
      }
    }
  }
}

// Reads `fd` until it would block; counts messages in order. False at end of file.
bool drain(int fd, int& next, long& messages) {
  for (;;) {
    int value = -1;
    const ssize_t size = read(fd, &value, sizeof value);
    if (size < 0 && errno == EAGAIN) {
      return true;
    }
    if (size < 0) {
      die("read");
    }
    if (size == 0) {
      return false;
    }
    if (size != sizeof value || value != next++) {
      std::fprintf(stderr, "expected message %d, got %d\n", next - 1, value);
      std::exit(1);
    }
    ++messages;
  }
}

long serve(const std::string& name, int flows) {
  const int queue = epoll_create1(EPOLL_CLOEXEC);
  std::vector<int> ends;
  std::vector<int> next(static_cast<std::size_t>(flows));
  for (int i = 0; i < flows; ++i) {
    int fd = open_end(name + "/accept", O_RDONLY);
    if (i % 2 == 1) {
      fd = pass_over_socket(fd);
    }
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
      die("fcntl");
    }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    event.data.u32 = static_cast<std::uint32_t>(i);
    if (epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event) != 0) {
      die("epoll_ctl");
    }
    ends.push_back(fd);
  }
  long messages = 0;
  for (int open_ends = flows; open_ends > 0;) {
    std::array<epoll_event, 64> events{};
    const int count = epoll_wait(queue, events.data(), static_cast<int>(events.size()), 10'000);
    if (count <= 0) {
      die("epoll_wait");
    }
    for (int i = 0; i < count; ++i) {
      const std::size_t which = events[static_cast<std::size_t>(i)].data.u32;
      if (ends[which] >= 0 && !drain(ends[which], next[which], messages)) {
        close(ends[which]);
        ends[which] = -1;
        --open_ends;
      }
    }
  }
  close(queue);
  return messages;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: epoll_many NAMEDIR FLOWS ROUNDS\n");
    return 2;
  }
  const int flows = std::atoi(argv[2]);
  const pid_t pid = fork();
  if (pid == 0) {
    run_client(argv[1], flows, std::atoi(argv[3]));
    return 0;
  }
  const long messages = serve(argv[1], flows);
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || status != 0) {
    return 1;
  }
  std::printf("%ld messages\n", messages);
  return 0;
}
