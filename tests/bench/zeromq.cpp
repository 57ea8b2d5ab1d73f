// SPDX-License-Identifier: BSD-3-Clause
#include "zeromq.hpp"

#ifdef FLOWFS_BENCH_ZEROMQ

#include <unistd.h>
#include <zmq.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

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
    if (!try_receive(message)) {
      die("zmq_recv");
    }
  }
  // False: none has come in the socket's own time.
  bool try_receive(std::span<std::byte> message) {
    const int got = retried([&] { return zmq_recv(socket_, message.data(), message.size(), 0); });
    if (got < 0 && zmq_errno() == EAGAIN) {
      return false;
    }
    expect(got, message.size(), "zmq_recv");
    return true;
  }
  void set(int option, int value) { set(option, &value, sizeof value); }
  void set(int option, const void* value, std::size_t bytes) {
    if (zmq_setsockopt(socket_, option, value, bytes) != 0) {
      die("zmq_setsockopt");
    }
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

// A publisher that waits for a full subscriber instead of leaving out what it has no room for.
class Publisher final : public Part {
 public:
  Publisher(const std::string& address, std::size_t subscribers)
      : socket_(context_.context, ZMQ_XPUB, address, true) {
    socket_.set(ZMQ_XPUB_NODROP, 1);
    socket_.set(ZMQ_XPUB_VERBOSE, 1);  // each subscription, though it is the same
    std::byte subscription{};
    for (std::size_t i = 0; i < subscribers; ++i) {
      socket_.receive({&subscription, 1});
    }
  }
  void send(std::span<const std::byte> message) override { socket_.send(message); }
  bool receive(std::span<std::byte> /*message*/, Micros /*patience*/) override { return false; }

 private:
  Context context_;
  Socket socket_;
};

class Subscriber final : public Part {
 public:
  explicit Subscriber(const std::string& address)
      : socket_(context_.context, ZMQ_SUB, address, false) {
    socket_.set(ZMQ_SUBSCRIBE, "", 0);
  }
  void send(std::span<const std::byte> /*message*/) override { die("a subscriber"); }
  bool receive(std::span<std::byte> message, Micros patience) override {
    if (patience != patience_) {
      patience_ = patience;
      socket_.set(ZMQ_RCVTIMEO, static_cast<int>(patience.count() / 1000));
    }
    return socket_.try_receive(message);
  }

 private:
  Context context_;
  Socket socket_;
  Micros patience_{};
};

// Abstract addresses: nothing is left behind in any folder.
std::string new_address() {
  static unsigned number = 0;
  return "@flowfs-bench-" + std::to_string(getpid()) + "-" + std::to_string(++number);
}

template <typename ZeromqSide>
OpenSide open_zeromq() {
  return [base = new_address()](bool far) { return std::make_unique<ZeromqSide>(base, far); };
}

}  // namespace

Group zeromq_pub_sub() {
  return {.name = "zeromq_pub_sub", .prepare = [](const GroupSize& size) -> OpenPart {
            return [address = "ipc://" + new_address(),
                    readers = size.readers](Role role) -> std::unique_ptr<Part> {
              if (role.sends) {
                return std::make_unique<Publisher>(address, readers);
              }
              return std::make_unique<Subscriber>(address);
            };
          }};
}

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
Group zeromq_pub_sub() { return {.name = "zeromq_pub_sub", .prepare = {}, .missing = kWhy}; }

}  // namespace flowfs::bench

#endif
