// SPDX-License-Identifier: BSD-3-Clause
// One end of a flow through libflowfs that sends and receives at once, in two threads.
//
// lib_traffic MOUNT NAME dial|accept SEED COUNT LONGEST FLAGS
//
// Each end sends COUNT messages of 1 to LONGEST bytes that follow from SEED, shuts down its
// sending, and checks that it receives the same from the other, whole, in order and with the end
// after the last. Prints whether it was mapped. Exit status 0: all as it must be.
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "flowfs/flowfs.h"

namespace {

constexpr std::int64_t kPatienceUs = 60'000'000;

class Messages {
 public:
  Messages(unsigned long seed, std::size_t longest) : random_(seed), longest_(longest) {}

  // Mostly short ones, sometimes any length.
  const std::vector<unsigned char>& next() {
    const std::size_t most = random_() % 4 == 0 ? longest_ : std::min<std::size_t>(longest_, 300);
    message_.resize(1 + random_() % most);
    const auto first = static_cast<unsigned char>(random_());
    for (std::size_t at = 0; at < message_.size(); ++at) {
      message_[at] = static_cast<unsigned char>(first + at * 7);
    }
    return message_;
  }

 private:
  std::mt19937_64 random_;
  std::size_t longest_;
  std::vector<unsigned char> message_;
};

bool complain(const char* what) {
  (void)std::fprintf(stderr, "lib_traffic: %s: %s\n", what, std::strerror(errno));
  return false;
}

bool send_all(flowfs_handle* flow, unsigned long seed, unsigned long count, std::size_t longest) {
  Messages messages(seed, longest);
  for (unsigned long left = count; left > 0; --left) {
    const auto& message = messages.next();
    if (flowfs_send(flow, message.data(), message.size(), kPatienceUs) != 0) {
      return complain("send");
    }
  }
  return flowfs_shutdown(flow, SHUT_WR) == 0 || complain("shutdown");
}

bool receive_all(flowfs_handle* flow, unsigned long seed, unsigned long count,
                 std::size_t longest) {
  Messages messages(seed, longest);
  std::vector<unsigned char> buffer(longest);
  for (unsigned long left = count; left > 0; --left) {
    const auto& expected = messages.next();
    const ssize_t got = flowfs_recv(flow, buffer.data(), buffer.size(), kPatienceUs);
    if (got < 0) {
      return complain("recv");
    }
    if (static_cast<std::size_t>(got) != expected.size() ||
        std::memcmp(buffer.data(), expected.data(), expected.size()) != 0) {
      (void)std::fprintf(stderr, "lib_traffic: message %lu of %lu differs (%zd bytes, not %zu)\n",
                         count - left, count, got, expected.size());
      return false;
    }
  }
  const ssize_t last = flowfs_recv(flow, buffer.data(), buffer.size(), kPatienceUs);
  return last == 0 || complain(last < 0 ? "recv" : "a message too many");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    return 2;
  }
  const std::vector<std::string> given(argv, argv + argc);
  const bool dials = given[3] == "dial";
  const unsigned long seed = std::stoul(given[4]);
  const unsigned long count = std::stoul(given[5]);
  const std::size_t longest = std::stoul(given[6]);
  const auto flags = static_cast<unsigned>(std::stoul(given[7]));
  flowfs_handle* flow = (dials ? flowfs_dial : flowfs_accept)(argv[1], argv[2], flags, kPatienceUs);
  if (flow == nullptr) {
    (void)complain(argv[3]);
    return 1;
  }
  (void)std::printf("%s\n", flowfs_is_mapped(flow) == 1 ? "mapped" : "file");
  bool sent = false;
  std::thread sender([&] { sent = send_all(flow, seed + (dials ? 0 : 1), count, longest); });
  const bool received = receive_all(flow, seed + (dials ? 1 : 0), count, longest);
  sender.join();
  flowfs_close(flow);
  return sent && received ? 0 : 1;
}
