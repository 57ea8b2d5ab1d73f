// SPDX-License-Identifier: BSD-3-Clause
#include "zeromq.hpp"

#ifdef FLOWFS_BENCH_ZEROMQ

#include <unistd.h>
#include <zmq.h>

#include <cerrno>
#include <cstdlib>

namespace flowfs::bench {
namespace {

class Socket {
 public:
  Socket(void* context, int type, const std::string& address, bool binds)
      : socket_(zmq_socket(context, type)) {
    const int retry_ms = 1;  // the far side may not have bound yet
    if (socket_ == nullptr ||
        zmq_setsockopt(socket_, ZMQ_RECONNECT_IVL, &retry_ms, sizeof retry_ms) != 0 ||
        (binds ? zmq_bind(socket_, address.c_str()) : zmq_connect(socket_, address.c_str())) != 0) {
      die(address.c_str());
    }
  }
  ~Socket() { zmq_close(socket_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  void send(std::span<const std::byte> message) {
    expect(retried([&] { return zmq_send(socket_, message.data(), message.size(), 0); }),
           message.size(), "zmq_send");
  }
  void receive(std::span<std::byte> message) {
    expect(retried([&] { return zmq_recv(socket_, message.data(), message.size(), 0); }),
           message.size(), "zmq_recv");
  }

 private:
  // A signal of the system, such as a stop, ends a wait of ZeroMQ's.
  template <typename Call>
  static int retried(Call call) {
    int done = 0;
    do {
      done = call();
    } while (done < 0 && zmq_errno() == EINTR);
    return done;
  }
  static void expect(int done, std::size_t bytes, const char* what) {
    if (done != static_cast<int>(bytes)) {
      die(what);
    }
  }

  void* socket_;
};

// Owns the context, which must be made after the fork.
struct Context {
  Context() : context(zmq_ctx_new()) {}
  ~Context() { zmq_ctx_term(context); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  void* context;
};

class PairSide final : public Side {
 public:
  PairSide(const std::string& base, bool far)
      : socket_(context_.context, ZMQ_PAIR, "ipc://" + base, far) {}
  void send(std::span<const std::byte> message) override { socket_.send(message); }
  void receive(std::span<std::byte> message) override { socket_.receive(message); }

 private:
  Context context_;
  Socket socket_;
};

class PushPullSide final : public Side {
 public:
  PushPullSide(const std::string& base, bool far)
      : push_(context_.context, ZMQ_PUSH, "ipc://" + base + (far ? "b" : "f"), !far),
        pull_(context_.context, ZMQ_PULL, "ipc://" + base + (far ? "f" : "b"), !far) {}
  void send(std::span<const std::byte> message) override { push_.send(message); }
  void receive(std::span<std::byte> message) override { pull_.receive(message); }

 private:
  Context context_;
  Socket push_;
  Socket pull_;
};

// Abstract addresses: nothing is left behind in any folder.
template <typename ZeromqSide>
OpenSide open_zeromq() {
  static unsigned number = 0;
  const std::string base =
      "@flowfs-bench-" + std::to_string(getpid()) + "-" + std::to_string(++number);
  return [base](bool far) { return std::make_unique<ZeromqSide>(base, far); };
}

}  // namespace

Transport zeromq_pairs() { return {.name = "zeromq_pair", .prepare = open_zeromq<PairSide>}; }
Transport zeromq_push_pull() {
  return {.name = "zeromq_push_pull", .prepare = open_zeromq<PushPullSide>};
}

}  // namespace flowfs::bench

#else

namespace flowfs::bench {
namespace {

constexpr const char* kWhy = "libzmq was not there when this was built (libzmq3-dev)";

}  // namespace

Transport zeromq_pairs() { return {.name = "zeromq_pair", .prepare = {}, .missing = kWhy}; }
Transport zeromq_push_pull() {
  return {.name = "zeromq_push_pull", .prepare = {}, .missing = kWhy};
}

}  // namespace flowfs::bench

#endif
