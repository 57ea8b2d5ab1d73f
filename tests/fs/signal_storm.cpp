// SPDX-License-Identifier: BSD-3-Clause
// signal_storm NAMEDIR COUNT: a blocking writer and a blocking reader of a flow, each hit by a
// timer signal every 200 µs with SA_RESTART set. Calls that end with EINTR are made again. Prints
// how many messages arrived and how many calls were interrupted; any message lost, torn or twice is
// an error.
#include <fcntl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kSize = 2000;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void start_storm() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  itimerval timer{{0, 200}, {0, 200}};
  if (sigaction(SIGALRM, &action, nullptr) != 0 || setitimer(ITIMER_REAL, &timer, nullptr) != 0) {
    die("timer");
  }
}

template <class Call>
long retry(Call call, long& interrupts) {
  for (;;) {
    const long result = call();
    if (result >= 0 || errno != EINTR) {
      return result;
    }
    ++interrupts;
  }
}

// Dials when told to through `go`: once the accept that waits for it has been interrupted.
void run_writer(const std::string& name, long count, int go) {
  long interrupts = 0;
  char byte = 0;
  if (read(go, &byte, 1) != 1) {
    die("go");
  }
  start_storm();
  const long fd = retry([&] { return open((name + "/dial").c_str(), O_WRONLY); }, interrupts);
  if (fd < 0) {
    die("dial");
  }
  std::vector<char> message(kSize, 'x');
  for (long i = 0; i < count; ++i) {
    std::snprintf(message.data(), 32, "%ld", i);
    const auto size =
        retry([&] { return write(static_cast<int>(fd), message.data(), kSize); }, interrupts);
    if (size != static_cast<long>(kSize)) {
      die("write");
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: signal_storm NAMEDIR COUNT\n");
    return 2;
  }
  const std::string name = argv[1];
  const long count = std::atol(argv[2]);
  std::array<int, 2> go{};
  if (pipe(go.data()) != 0) {
    die("pipe");
  }
  const pid_t pid = fork();
  if (pid == 0) {
    close(go[1]);  // a parent that ends early lets the child end too
    run_writer(name, count, go[0]);
    return 0;
  }
  long interrupts = 0;
  start_storm();
  const long fd = retry(
      [&] {
        if (interrupts == 1 && write(go[1], "", 1) != 1) {
          die("go");
        }
        return open((name + "/accept").c_str(), O_RDONLY);
      },
      interrupts);
  if (fd < 0) {
    die("accept");
  }
  std::vector<char> message(2 * kSize);
  long messages = 0;
  for (;;) {
    const long size = retry(
        [&] { return read(static_cast<int>(fd), message.data(), message.size()); }, interrupts);
    if (size == 0) {
      break;
    }
    if (size != static_cast<long>(kSize) || std::atol(message.data()) != messages) {
      std::fprintf(stderr, "message %ld: size %ld, says %.16s\n", messages, size, message.data());
      return 1;
    }
    ++messages;
  }
  int status = 0;
  if (retry([&] { return waitpid(pid, &status, 0); }, interrupts) != pid || status != 0) {
    return 1;
  }
  std::printf("%ld %ld\n", messages, interrupts);
  return 0;
}
