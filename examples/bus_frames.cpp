// SPDX-License-Identifier: BSD-3-Clause
// Video frames over a bus, drawn and looked at where they lie:
//   bus_frames produce BUS BYTES COUNT [MOUNT]   COUNT frames of BYTES each
//   bus_frames show BUS LAST [MOUNT]             the newest of them, until it is number LAST
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <flowfs/flowfs.hpp>
#include <string_view>

// A picture begins with its number, as 4 bytes, and is of one colour: that of the number.
std::uint32_t number_of(std::span<const std::byte> picture) {
  std::uint32_t number = 0;
  std::memcpy(&number, picture.data(), sizeof number);
  return number;
}

void produce(const char* bus, std::size_t bytes, std::uint32_t count, const char* mount) {
  auto member = flowfs::Member::join(bus, FLOWFS_SEND_ONLY, mount);
  for (std::uint32_t number = 1; number <= count; ++number) {
    auto frame = member.loan(bytes);
    std::ranges::fill(frame.bytes(), static_cast<std::byte>(number));
    std::memcpy(frame.bytes().data(), &number, sizeof number);
    frame.commit();
  }
}

// Who is slow misses frames, and never shows half of one and half of another.
void show(const char* bus, std::uint32_t last, const char* mount) {
  auto member = flowfs::Member::join(bus, FLOWFS_RECEIVE_ONLY, mount);
  std::printf("ready\n");
  std::fflush(stdout);
  unsigned shown = 0;
  unsigned torn = 0;
  unsigned wrong = 0;
  for (std::uint32_t number = 0; number != last;) {
    member.skip();
    auto frame = member.borrow();
    const auto picture = frame.bytes();
    number = number_of(picture);
    const auto colour = static_cast<std::byte>(number);
    const bool whole = std::ranges::all_of(picture.subspan(sizeof number),
                                           [colour](std::byte dot) { return dot == colour; });
    if (frame.release()) {
      ++shown;
      wrong += whole ? 0 : 1;
    } else {
      ++torn;  // written over while it was looked at: not to be shown
      number = 0;
    }
  }
  std::printf("%u shown, %u torn, %u wrong\n", shown, torn, wrong);
}

int main(int argc, char** argv) {
  const std::string_view role = argc > 1 ? argv[1] : "";
  try {
    if (role == "produce" && (argc == 5 || argc == 6)) {
      produce(argv[2], std::strtoul(argv[3], nullptr, 10),
              static_cast<std::uint32_t>(std::strtoul(argv[4], nullptr, 10)),
              argc == 6 ? argv[5] : nullptr);
      return 0;
    }
    if (role == "show" && (argc == 4 || argc == 5)) {
      show(argv[2], static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10)),
           argc == 5 ? argv[4] : nullptr);
      return 0;
    }
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "bus_frames: %s\n", error.what());
    return 1;
  }
  std::fputs(
      "usage: bus_frames produce BUS BYTES COUNT [MOUNT]\n"
      "       bus_frames show BUS LAST [MOUNT]\n",
      stderr);
  return 2;
}
