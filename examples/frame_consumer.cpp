// SPDX-License-Identifier: BSD-3-Clause
// Compares each frame with the one before, where they lie: frame_consumer NAME [MOUNT]
#include <cstdio>
#include <cstdlib>
#include <flowfs/flowfs.hpp>
#include <utility>

// How much brighter one frame is than another, at one place.
int difference(std::span<const std::byte> newer, std::span<const std::byte> older) {
  return newer.empty() || older.empty() ? 0
                                        : static_cast<int>(newer[0]) - static_cast<int>(older[0]);
}

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fputs("usage: frame_consumer NAME [MOUNT]\n", stderr);
    return 2;
  }
  try {
    auto flow = flowfs::Flow::accept(argv[1], {.mount = argc > 2 ? argv[2] : nullptr});
    flowfs::Borrowed before;  // one more is all that a flow has room for where no pool is shared
    unsigned frames = 0;
    int total = 0;
    while (auto frame = flow.borrow()) {
      total += difference(frame.bytes(), before.bytes());
      before = std::move(frame);
      ++frames;
    }
    std::printf("%u frames, total difference %d\n", frames, total);
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "frame_consumer: %s\n", error.what());
    return 1;
  }
  return 0;
}
