// SPDX-License-Identifier: BSD-3-Clause
// One end of a flow through libflowfs that sends and receives at once, in two threads.
//
// lib_traffic MOUNT NAME dial|accept SEED COUNT LONGEST FLAGS copied|placed
//
// Each end sends COUNT messages of 1 to LONGEST bytes that follow from SEED, from a buffer or
// written in place, shuts down its sending, and checks that it receives the same from the other,
// whole, in order and with the end after the last. Prints whether it is mapped when it begins. Exit
// status 0: all as it must be.
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

struct Traffic {
  unsigned long count = 0;
  std::size_t longest = 0;
  bool placed = false;
};

bool send_one(flowfs_handle* flow, const std::vector<unsigned char>& message, bool placed) {
  if (!placed) {
    return flowfs_send(flow, message.data(), message.size(), kPatienceUs) == 0;
  }
  flowfs_space space{};
  if (flowfs_loan(flow, message.size(), kPatienceUs, &space) != 0) {
    return false;
  }
  std::memcpy(space.data, message.data(), message.size());
  return flowfs_commit(&space, message.size(), kPatienceUs) == 0;
}

bool send_all(flowfs_handle* flow, unsigned long seed, const Traffic& traffic) {
  Messages messages(seed, traffic.longest);
  for (unsigned long left = traffic.count; left > 0; --left) {
    if (!send_one(flow, messages.next(), traffic.placed)) {
      return complain("send");
    }
  }
  return flowfs_shutdown(flow, SHUT_WR) == 0 || complain("shutdown");
}

// The next message, in `buffer` or in place.
class Received {
 public:
  Received(flowfs_handle* flow, std::vector<unsigned char>& buffer, bool placed)
      : length_(placed ? flowfs_borrow(flow, kPatienceUs, &view_)
                       : flowfs_recv(flow, buffer.data(), buffer.size(), kPatienceUs)),
        data_(placed ? view_.data : buffer.data()) {}
  Received(const Received&) = delete;
  Received& operator=(const Received&) = delete;
  ~Received() { flowfs_release(&view_); }
  [[nodiscard]] ssize_t length() const { return length_; }
  [[nodiscard]] bool is(const std::vector<unsigned char>& expected) const {
    return static_cast<std::size_t>(length_) == expected.size() &&
           std::memcmp(data_, expected.data(), expected.size()) == 0;
  }

 private:
  flowfs_view view_{};
  ssize_t length_;
  const void* data_;
};

bool receive_all(flowfs_handle* flow, unsigned long seed, const Traffic& traffic) {
  Messages messages(seed, traffic.longest);
  std::vector<unsigned char> buffer(traffic.longest);
  for (unsigned long left = traffic.count; left > 0; --left) {
    const auto& expected = messages.next();
    const Received received(flow, buffer, traffic.placed);
    if (received.length() < 0) {
      return complain("recv");
    }
    if (!received.is(expected)) {
      (void)std::fprintf(stderr, "lib_traffic: message %lu of %lu differs (%zd bytes, not %zu)\n",
                         traffic.count - left, traffic.count, received.length(), expected.size());
      return false;
    }
  }
  const Received last(flow, buffer, traffic.placed);
  return last.length() == 0 || complain(last.length() < 0 ? "recv" : "a message too many");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 9) {
    return 2;
  }
  const std::vector<std::string> given(argv, argv + argc);
  const bool dials = given[3] == "dial";
  const unsigned long seed = std::stoul(given[4]);
  const Traffic traffic{.count = std::stoul(given[5]),
                        .longest = std::stoul(given[6]),
                        .placed = given[8] == "placed"};
  const auto flags = static_cast<unsigned>(std::stoul(given[7]));
  flowfs_handle* flow = (dials ? flowfs_dial : flowfs_accept)(argv[1], argv[2], flags, kPatienceUs);
  if (flow == nullptr) {
    (void)complain(argv[3]);
    return 1;
  }
  (void)std::printf("%s\n", flowfs_is_mapped(flow) == 1 ? "mapped" : "file");
  (void)std::fflush(stdout);  // for who waits for it
  bool sent = false;
  std::thread sender([&] { sent = send_all(flow, seed + (dials ? 0 : 1), traffic); });
  const bool received = receive_all(flow, seed + (dials ? 1 : 0), traffic);
  sender.join();
  flowfs_close(flow);
  return sent && received ? 0 : 1;
}
