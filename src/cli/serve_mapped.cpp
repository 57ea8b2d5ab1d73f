// SPDX-License-Identifier: BSD-3-Clause
// flowctl serve --mapped: the roles over libflowfs, a thread for each flow, so that an end can spin
// and sleep on its peer's memory.
//
// Threads: the first accepts and reports; each flow's own moves messages and tells when it is done.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <atomic>
#include <list>
#include <thread>
#include <vector>

#include "cli/commands.hpp"
#include "cli/lib_flow.hpp"
#include "cli/serve_report.hpp"
#include "cli/served_name.hpp"

namespace flowfs::cli {
namespace {

constexpr std::size_t kFirstBuffer = std::size_t{16} << 10U;
constexpr std::size_t kLargestBuffer = std::size_t{64} << 20U;

// A flow with a client, served until it ends. Owns: the flow, and the thread, which is joined.
class MappedFlow {
 public:
  // `ended` is written when there is nothing more to do.
  MappedFlow(LibFlow flow, const ServeOptions& options, const Fd& ended)
      : flow_(std::move(flow)), options_(options), thread_([this, &ended] {
          serve();
          // release, pairs with has_ended(): the traffic and the error.
          ended_.store(true, std::memory_order_release);
          ended_.notify_all();
          eventfd_write(ended.get(), 1);
        }) {}
  ~MappedFlow() {
    // Fails where the flow has gone, which ends the thread's calls as well.
    static_cast<void>(flowfs_shutdown(flow_.get(), SHUT_RDWR));
    thread_.join();
  }
  MappedFlow(const MappedFlow&) = delete;
  MappedFlow& operator=(const MappedFlow&) = delete;

  // From then on, and after stop(), the following may be asked. acquire, pairs with the thread.
  [[nodiscard]] bool has_ended() const { return ended_.load(std::memory_order_acquire); }
  void stop() {
    static_cast<void>(flowfs_shutdown(flow_.get(), SHUT_RDWR));
    ended_.wait(false, std::memory_order_acquire);
  }
  [[nodiscard]] std::uint64_t id() const { return flowfs_id(flow_.get()); }
  [[nodiscard]] const Traffic& traffic() const { return traffic_; }
  [[nodiscard]] int error() const { return error_; }

 private:
  void serve();
  void serve_source();
  void serve_reader();
  bool receive();  // one message into buffer_, of length_
  bool send(std::size_t bytes);
  void count(std::size_t bytes);
  [[nodiscard]] bool count_reached() const {
    return options_.count != 0 && traffic_.messages >= options_.count;
  }

  LibFlow flow_;
  const ServeOptions& options_;
  std::vector<std::byte> buffer_;
  std::size_t length_ = 0;
  Traffic traffic_;
  int error_ = 0;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

void MappedFlow::count(std::size_t bytes) {
  ++traffic_.messages;
  traffic_.bytes += bytes;
}

bool MappedFlow::receive() {
  for (;;) {
    const ssize_t bytes = flowfs_recv(flow_.get(), buffer_.data(), buffer_.size(), FLOWFS_FOREVER);
    if (bytes > 0) {
      length_ = static_cast<std::size_t>(bytes);
      return true;
    }
    if (bytes < 0 && errno == EMSGSIZE && buffer_.size() < kLargestBuffer) {
      buffer_.resize(buffer_.size() * 2);
      continue;
    }
    error_ = bytes < 0 ? errno : 0;
    return false;
  }
}

bool MappedFlow::send(std::size_t bytes) {
  if (flowfs_send(flow_.get(), buffer_.data(), bytes, FLOWFS_FOREVER) == 0) {
    return true;
  }
  error_ = errno == EPIPE ? 0 : errno;
  return false;
}

void MappedFlow::serve_source() {
  buffer_.assign(options_.size_bytes, std::byte{'.'});
  while (!count_reached()) {
    if (options_.numbered) {
      put_sequence(traffic_.messages + 1, buffer_);
    }
    if (!send(buffer_.size())) {
      return;
    }
    count(buffer_.size());
  }
}

void MappedFlow::serve_reader() {
  buffer_.resize(kFirstBuffer);
  while (!count_reached() && receive()) {
    if (options_.role == ServeRole::echo && !send(length_)) {
      return;
    }
    count(length_);
    if (options_.numbered) {
      traffic_.order.see(std::span(buffer_).first(length_));
    }
  }
}

void MappedFlow::serve() {
  // A role only takes the direction that it uses, so that a client of the wrong kind is told.
  const int unused = options_.role == ServeRole::sink ? SHUT_WR : SHUT_RD;
  if (options_.role != ServeRole::echo && flowfs_shutdown(flow_.get(), unused) != 0) {
    error_ = errno;
  } else if (options_.role == ServeRole::source) {
    serve_source();
  } else {
    serve_reader();
  }
  // The client is told at once, not when the first thread comes to close the end.
  static_cast<void>(flowfs_shutdown(flow_.get(), SHUT_RDWR));
}

class MappedHost {
 public:
  MappedHost(const Common& common, const ServeOptions& options, const ServedName& name)
      : common_(common), options_(options), name_(name), report_(common, options) {}

  // False: it complained.
  bool prepare();
  int run();

 private:
  bool keep_waiting();
  bool wait();  // false: a signal
  bool take_up();
  void reap();
  [[nodiscard]] bool enough() const {
    return options_.flows != 0 && report_.ended() >= options_.flows;
  }

  const Common& common_;
  const ServeOptions& options_;
  const ServedName& name_;
  ServeReport report_;
  Fd signals_;
  Fd ended_;
  std::vector<LibFlow> waiting_;
  std::vector<pollfd> events_;  // signals, ended, then those that wait
  std::list<MappedFlow> flows_;
  bool broken_ = false;
};

bool MappedHost::prepare() {
  signals_ = catch_ends();
  ended_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!signals_ || !ended_) {
    complain(fmt::format("cannot wait for events: {}", errno_in_words(errno)));
    return false;
  }
  return true;
}

// Opens ends until kWaitingEnds of them wait. False: it cannot, and nothing else is left.
bool MappedHost::keep_waiting() {
  const std::uint64_t most =
      options_.flows == 0 ? kWaitingEnds : options_.flows - report_.ended() - flows_.size();
  while (waiting_.size() < std::min<std::uint64_t>(kWaitingEnds, most)) {
    LibFlow flow(
        flowfs_accept(common_.mount.c_str(), options_.name.c_str(), flags_of(options_.waiting), 0));
    if (!flow) {
      // At a limit, those that are being served go on, and the next end makes room.
      const int error = errno;
      const bool go_on =
          (!flows_.empty() || !waiting_.empty()) && error != ENOENT && error != ENOTCONN;
      if (!go_on || options_.verbose) {
        name_.complain_of_accept(error);
      }
      return go_on;
    }
    waiting_.push_back(std::move(flow));
  }
  return true;
}

bool MappedHost::wait() {
  events_.assign({{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                  {.fd = ended_.get(), .events = POLLIN, .revents = 0}});
  for (const LibFlow& flow : waiting_) {
    // Both: an end without a client is ready for neither.
    events_.push_back({.fd = flowfs_fd(flow.get()), .events = POLLIN | POLLOUT, .revents = 0});
  }
  poll(events_.data(), events_.size(), -1);
  return events_[0].revents == 0;
}

// Gives each end that has a client a thread. False: an end that waited has failed, as will others.
bool MappedHost::take_up() {
  for (std::size_t index = waiting_.size(); index-- > 0;) {
    const short ready = events_[index + 2].revents;
    // An empty message is refused, but not before the reason why there will be no client is told.
    if ((ready & POLLERR) != 0 && flowfs_send(waiting_[index].get(), nullptr, 0, 0) < 0 &&
        errno != EINVAL) {
      failed(Deed::transfer, name_.object(), errno);
      return false;
    }
    if (ready != 0) {
      flows_.emplace_back(std::move(waiting_[index]), options_, ended_);
      report_.up(flows_.back().id());
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(index));
    }
  }
  return true;
}

void MappedHost::reap() {
  eventfd_t count = 0;
  eventfd_read(ended_.get(), &count);
  for (auto flow = flows_.begin(); flow != flows_.end();) {
    if (!flow->has_ended()) {
      ++flow;
      continue;
    }
    if (flow->error() != 0) {
      failed(Deed::transfer, name_.object(), flow->error());
      broken_ = true;
    }
    report_.end(flow->id(), flow->traffic(), flow->error());
    flow = flows_.erase(flow);
  }
}

int MappedHost::run() {
  if (!keep_waiting()) {
    return kFailed;
  }
  report_.serving();
  bool goes_on = true;
  while (goes_on && !enough() && wait()) {
    goes_on = take_up();
    reap();
    goes_on = goes_on && (enough() || keep_waiting());
  }
  broken_ = broken_ || !goes_on;
  for (MappedFlow& flow : flows_) {
    flow.stop();
  }
  reap();
  report_.summary();
  return broken_ || !report_.all_in_order() ? kFailed : kDone;
}

}  // namespace

int serve_mapped(const Common& common, const ServeOptions& options, const ServedName& name) {
  MappedHost host(common, options, name);
  return host.prepare() ? host.run() : kFailed;
}

}  // namespace flowfs::cli
