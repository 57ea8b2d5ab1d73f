// SPDX-License-Identifier: BSD-3-Clause
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "cli/commands.hpp"
#include "cli/interrupt.hpp"
#include "cli/lib_flow.hpp"
#include "cli/payload.hpp"
#include "cli/perf_watch.hpp"

namespace flowfs::cli {
namespace {

constexpr std::chrono::milliseconds kLongestNap{20};  // a rest between messages looks at stop()

std::uint64_t ns_since(Instant begin) {
  const auto passed = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin);
  return passed.count() > 0 ? static_cast<std::uint64_t>(passed.count()) : 0;
}

// When each message of an open loop is due, whatever became of those before.
class Schedule {
 public:
  Schedule(double rate, bool spins) : rate_(rate), spins_(spins) {
    // The default would add up to 50 us to each rest.
    prctl(PR_SET_TIMERSLACK, 1UL);
  }

  [[nodiscard]] Instant due(std::uint64_t index) const {
    return begin_ +
           std::chrono::nanoseconds(std::llround(static_cast<double>(index) / rate_ * 1e9));
  }
  // False: to be stopped.
  [[nodiscard]] bool rest(std::uint64_t index, const PerfWatch& watch) const {
    const Instant until = due(index);
    while (!watch.stop()) {
      const Instant now = Clock::now();
      if (now >= until) {
        return true;
      }
      if (!spins_) {
        nap(std::min<Clock::duration>(until - now, kLongestNap));
      }
    }
    return false;
  }

 private:
  static void nap(Clock::duration time) {
    const timespec wait{
        .tv_sec = 0, .tv_nsec = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count()};
    nanosleep(&wait, nullptr);  // cut short, it only looks sooner
  }

  double rate_;
  bool spins_;
  Instant begin_ = Clock::now();
};

class Perf {
 public:
  Perf(const Common& common, const PerfOptions& options)
      : common_(common),
        options_(options),
        message_(options.size_bytes, std::byte{'.'}),
        answer_(options.size_bytes + 1) {}

  int run();

 private:
  bool dial();
  void measure(PerfWatch& watch);
  void round_trips(PerfWatch& watch);
  void paced_round_trips(PerfWatch& watch);
  void send_one_way(PerfWatch& watch);
  void receive_one_way(PerfWatch& watch);
  bool send(std::uint64_t sequence);
  enum class [[nodiscard]] Received { message, nothing };
  Received receive();
  [[nodiscard]] bool enough(std::uint64_t messages, const PerfWatch& watch) const {
    return watch.stop() || (options_.count != 0 && messages >= options_.count);
  }
  [[nodiscard]] KeyValues stats(std::uint64_t flow) const;
  [[nodiscard]] std::uint64_t peer_flow() const;
  void settle(const KeyValues& own_before, const KeyValues& own, const KeyValues& peer_before,
              const KeyValues& peer);
  bool explain_end(bool gave_up) const;
  [[nodiscard]] std::string server() const;
  [[nodiscard]] std::string object() const { return "names/" + options_.name; }

  const Common& common_;
  const PerfOptions& options_;
  LibFlow flow_;
  std::vector<std::byte> message_;
  std::vector<std::byte> answer_;
  PerfResult result_;
  SequenceCheck order_;
  int send_error_ = 0;
  int receive_error_ = 0;
  bool closed_ = false;  // the peer ended the flow
};

bool Perf::dial() {
  Result<Interrupts> interrupts = Interrupts::install();
  if (!interrupts) {
    complain(interrupts.error().message());
    return false;
  }
  unsigned flags = flags_of(options_.waiting);
  if (options_.through_files) {
    flags |= FLOWFS_FILE_MODE;
  }
  Result<LibFlow> flow =
      dial_flow(common_.mount, options_.name, flags, [&] { return interrupts->stop(); });
  if (!flow) {
    failed(Deed::dial, object(), flow.error().error);
    return false;
  }
  flow_ = std::move(*flow);
  return true;
}

bool Perf::send(std::uint64_t sequence) {
  put_sequence(sequence, message_);
  if (flowfs_send(flow_.get(), message_.data(), message_.size(), FLOWFS_FOREVER) != 0) {
    send_error_ = errno;
    return false;
  }
  result_.sent = sequence;
  return true;
}

Perf::Received Perf::receive() {
  const ssize_t bytes = flowfs_recv(flow_.get(), answer_.data(), answer_.size(), FLOWFS_FOREVER);
  if (bytes == static_cast<ssize_t>(options_.size_bytes)) {
    ++result_.received;
    order_.see(std::span(answer_).first(options_.size_bytes));
    return Received::message;
  }
  if (bytes == 0) {
    closed_ = true;
  } else if (bytes > 0 || errno == EMSGSIZE) {
    ++result_.altered;
  } else {
    receive_error_ = errno;
  }
  return Received::nothing;
}

// One message under way: the next is sent when the last has come back.
void Perf::round_trips(PerfWatch& watch) {
  for (std::uint64_t sequence = 1; !enough(sequence - 1, watch); ++sequence) {
    const Instant begin = Clock::now();
    if (!send(sequence) || receive() != Received::message) {
      return;
    }
    result_.times.add(ns_since(begin));
    watch.moved(sequence);
  }
}

// Messages leave when they are due, however long the answers take, and an answer's time counts from
// then: a server that stalls is not spared those it kept waiting.
void Perf::paced_round_trips(PerfWatch& watch) {
  const Schedule schedule(options_.rate, options_.waiting == Waiting::spin);
  std::thread receiver([&] {
    while (receive() == Received::message) {
      result_.times.add(ns_since(schedule.due(result_.received - 1)));
      watch.moved(result_.received);
    }
  });
  for (std::uint64_t sequence = 1; !enough(sequence - 1, watch); ++sequence) {
    if (!schedule.rest(sequence - 1, watch) || !send(sequence)) {
      break;
    }
  }
  // The server sends back what it has, closes, and so ends the receiver.
  static_cast<void>(flowfs_shutdown(flow_.get(), SHUT_WR));
  receiver.join();
}

void Perf::send_one_way(PerfWatch& watch) {
  const Schedule schedule(options_.rate > 0 ? options_.rate : 1, options_.waiting == Waiting::spin);
  for (std::uint64_t sequence = 1; !enough(sequence - 1, watch); ++sequence) {
    if ((options_.rate > 0 && !schedule.rest(sequence - 1, watch)) || !send(sequence)) {
      break;
    }
    if (options_.rate > 0) {
      result_.times.add(ns_since(schedule.due(sequence - 1)));
    }
    watch.moved(sequence);
  }
  // A sink closes when it has read everything: only then has it been delivered.
  static_cast<void>(flowfs_shutdown(flow_.get(), SHUT_WR));
  while (!wait_for_hangup(flow_.get(), 100) && !watch.gave_up()) {
  }
}

void Perf::receive_one_way(PerfWatch& watch) {
  while (!enough(result_.received, watch) && receive() == Received::message) {
    watch.moved(result_.received);
  }
}

void Perf::measure(PerfWatch& watch) {
  const Instant begin = Clock::now();
  switch (options_.shape) {
    case PerfShape::round_trip:
      options_.rate > 0 ? paced_round_trips(watch) : round_trips(watch);
      break;
    case PerfShape::send:
      send_one_way(watch);
      break;
    case PerfShape::receive:
      receive_one_way(watch);
      break;
  }
  result_.elapsed_ns = ns_since(begin);
}

// Nothing where it may not be read: the peer's belongs to its user.
KeyValues Perf::stats(std::uint64_t flow) const {
  const Result<std::string> text =
      read_attribute(common_.path(fmt::format("flows/{}/stats", flow)));
  return text ? KeyValues::parse_lines(*text) : KeyValues{};
}

std::uint64_t Perf::peer_flow() const {
  flowfs_peer peer{};
  return flowfs_get_peer(flow_.get(), &peer) == 0 ? peer.flow : 0;
}

// What became of the messages.
void Perf::settle(const KeyValues& own_before, const KeyValues& own, const KeyValues& peer_before,
                  const KeyValues& peer) {
  result_.disordered = order_.disordered();
  result_.lost = order_.lost();
  const std::uint64_t back = result_.received + result_.lost + result_.altered;
  if (options_.shape == PerfShape::round_trip && result_.sent > back) {
    result_.lost += result_.sent - back;
  }
  if (options_.shape == PerfShape::send) {
    // What a sink that closed early has not read.
    const std::uint64_t before = own_before.number("drops").value_or(0);
    result_.lost += std::max(own.number("drops").value_or(before), before) - before;
  }
  result_.copies_sent = copies_per_message(own_before, own, result_.sent);
  result_.copies_received = copies_per_message(peer_before, peer, result_.received);
}

// The server that this needs, as it is started.
std::string Perf::server() const {
  const std::string_view role = options_.shape == PerfShape::round_trip ? "--echo"
                                : options_.shape == PerfShape::send     ? "--sink"
                                                                        : "--source --numbered";
  return fmt::format("`flowctl serve {} {}`", options_.name, role);
}

// Says why it ended before its time. False: it did not.
bool Perf::explain_end(bool gave_up) const {
  if (gave_up) {
    complain(fmt::format("{}: nothing has moved for {:g} s; is its server {}, and does it run?",
                         object(), options_.wait_s, server()));
    return true;
  }
  const bool closed_early =
      (options_.shape == PerfShape::round_trip && result_.received < result_.sent) ||
      (options_.shape == PerfShape::receive && result_.received < options_.count);
  if ((closed_ && closed_early) || send_error_ == EPIPE) {
    complain(fmt::format("{} closed the flow; is its server {}?", object(), server()));
    return true;
  }
  if (const int error = send_error_ != 0 ? send_error_ : receive_error_; error != 0) {
    failed(Deed::transfer, object(), error);
    return true;
  }
  return false;
}

int Perf::run() {
  if (!dial()) {
    return kFailed;
  }
  result_.name = options_.name;
  result_.shape = options_.shape;
  result_.size_bytes = options_.size_bytes;
  result_.rate = options_.rate;
  result_.mapped = flowfs_is_mapped(flow_.get()) == 1;
  result_.waiting = name_of(options_.waiting);
  const std::uint64_t peer = peer_flow();
  const KeyValues own_before = stats(flowfs_id(flow_.get()));
  const KeyValues peer_before = stats(peer);
  bool gave_up = false;
  {
    const Micros pause(options_.rate > 0 ? std::llround(1e6 / options_.rate) : 0);
    const bool timed = options_.count == 0 || options_.seconds_given;
    PerfWatch watch(flow_.get(),
                    {.end = timed ? later(Clock::now(), micros_of(options_.seconds)) : kNever,
                     .patience = micros_of(options_.wait_s) + pause,
                     .shows_progress = isatty(STDERR_FILENO) == 1});
    measure(watch);
    gave_up = watch.gave_up();
  }
  settle(own_before, stats(flowfs_id(flow_.get())), peer_before, stats(peer));
  if (common_.json) {
    print_json(as_json(result_));
  } else {
    print_text(readable(result_));
  }
  return explain_end(gave_up) || !result_.good() ? kFailed : kDone;
}

}  // namespace

int run_perf(const Common& common, const PerfOptions& options) {
  return check_name(options.name) ? Perf(common, options).run() : kUsage;
}

}  // namespace flowfs::cli
