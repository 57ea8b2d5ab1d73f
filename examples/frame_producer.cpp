// SPDX-License-Identifier: BSD-3-Clause
// Sends frames that are drawn where the other program reads them: frame_producer NAME COUNT [MOUNT]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <flowfs/flowfs.hpp>

constexpr std::size_t kFrameBytes = 640UL * 360 * 3;

int main(int argc, char** argv) {
  const long count = argc > 2 ? std::strtol(argv[2], nullptr, 10) : 0;
  if (argc < 3 || argc > 4 || count <= 0 || count > 255) {
    std::fputs("usage: frame_producer NAME COUNT [MOUNT]\n", stderr);
    return 2;
  }
  try {
    auto flow = flowfs::Flow::dial(argv[1], {.mount = argc > 3 ? argv[3] : nullptr});
    for (long number = 1; number <= count; ++number) {
      auto frame = flow.loan(kFrameBytes);
      std::ranges::fill(frame.bytes(), static_cast<std::byte>(number));  // the picture
      frame.commit();
    }
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "frame_producer: %s\n", error.what());
    return 1;
  }
  return 0;
}
