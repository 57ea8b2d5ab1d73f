// SPDX-License-Identifier: BSD-3-Clause
// Answers each message of one flow with itself: echo_server NAME [MOUNT]
#include <cstdio>
#include <flowfs/flowfs.hpp>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fputs("usage: echo_server NAME [MOUNT]\n", stderr);
    return 2;
  }
  try {
    auto flow = flowfs::Flow::accept(argv[1], {.mount = argc > 2 ? argv[2] : nullptr});
    std::vector<std::byte> buffer(1 << 20);
    for (auto message = flow.recv(buffer); !message.empty(); message = flow.recv(buffer)) {
      flow.send(message);
    }
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "echo_server: %s\n", error.what());
    return 1;
  }
  return 0;
}
