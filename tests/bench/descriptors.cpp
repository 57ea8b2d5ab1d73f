// SPDX-License-Identifier: BSD-3-Clause
#include "descriptors.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace flowfs::bench {
namespace {

class Descriptors final : public Side {
 public:
  Descriptors(int reads, int writes) : reads_(reads), writes_(writes) {}
  ~Descriptors() override {
    close(reads_);
    if (writes_ != reads_) {
      close(writes_);
    }
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  void send(std::span<const std::byte> message) override {
    for (std::size_t sent = 0; sent < message.size();) {
      const ssize_t bytes = write(writes_, message.data() + sent, message.size() - sent);
      if (bytes <= 0) {
        die("write");
      }
      sent += static_cast<std::size_t>(bytes);
    }
  }
  // Whole by a single call where the transport has messages; a pipe may take several.
  void receive(std::span<std::byte> message) override {
    for (std::size_t received = 0; received < message.size();) {
      const ssize_t bytes = read(reads_, message.data() + received, message.size() - received);
      if (bytes <= 0) {
        die("read");
      }
      received += static_cast<std::size_t>(bytes);
    }
  }

 private:
  int reads_;
  int writes_;
};

// The sides as {reads, writes}; each process closes what is the other's.
OpenSide sides_of(std::array<int, 2> near, std::array<int, 2> far) {
  return [near, far](bool is_far) {
    const auto& mine = is_far ? far : near;
    for (const int fd : is_far ? near : far) {
      close(fd);
    }
    return std::make_unique<Descriptors>(mine[0], mine[1]);
  };
}

int open_or_die(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) {
    die(path.c_str());
  }
  return fd;
}

}  // namespace

Transport file_flows(const BenchName& name) {
  const std::string folder = name.folder();
  return {.name = "file_mode", .prepare = [folder] {
            const int there = open_or_die(folder + "/accept", O_RDWR | O_NONBLOCK);
            const int here = open_or_die(folder + "/dial", O_RDWR);
            if (fcntl(there, F_SETFL, 0) != 0) {
              die("fcntl");
            }
            return sides_of({here, here}, {there, there});
          }};
}

Transport seqpackets() {
  return {.name = "af_unix_seqpacket", .prepare = [] {
            std::array<int, 2> sockets{};
            if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
              die("socketpair");
            }
            // As much as a flow holds by default; a message must fit into it.
            const int room = 2 << 20;
            for (const int fd : sockets) {
              if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) != 0) {
                die("SO_SNDBUFFORCE (needs root)");
              }
            }
            return sides_of({sockets[0], sockets[0]}, {sockets[1], sockets[1]});
          }};
}

Transport pipes() {
  return {.name = "pipe", .prepare = [] {
            std::array<int, 2> forth{};
            std::array<int, 2> back{};
            if (pipe2(forth.data(), O_CLOEXEC) != 0 || pipe2(back.data(), O_CLOEXEC) != 0) {
              die("pipe2");
            }
            return sides_of({back[0], forth[1]}, {forth[0], back[1]});
          }};
}

}  // namespace flowfs::bench
