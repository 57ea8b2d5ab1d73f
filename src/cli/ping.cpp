// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <memory>
#include <vector>

#include "base/clock.hpp"
#include "cli/commands.hpp"
#include "cli/interrupt.hpp"
#include "cli/key_value.hpp"
#include "cli/ping_flow.hpp"
#include "cli/ping_report.hpp"

namespace flowfs::cli {
namespace {

constexpr int kAnswered = 0;
constexpr int kUnanswered = 1;
constexpr int kBroken = 2;

// A read whose answer fills its buffer makes the kernel ask again, which would be measured too.
// What is longer than the message is an answer all the same.
constexpr std::size_t kSlack = 64;

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
          .count());
}

class Pinger {
 public:
  Pinger(const Common& common, const PingOptions& options, Interrupts& interrupts)
      : common_(common),
        options_(options),
        interrupts_(interrupts),
        session_(options.size_bytes),
        message_(options.size_bytes),
        answer_(options.size_bytes + kSlack) {}

  int run();

 private:
  // What a wait for something from the other end came to.
  enum class [[nodiscard]] Step { go_on, timed_out, ended, failed };

  bool dial();
  Step send();
  Step await_answer(Instant deadline);
  Step rest_until(Instant next);
  Step take_answer(ssize_t bytes);
  [[nodiscard]] bool enough() const {
    return interrupts_.stop() || (options_.count != 0 && session_.transmitted() >= options_.count);
  }
  Step ping_all();
  void show(const Reply& reply) const;
  void say_why_through_files() const;
  [[nodiscard]] std::string object() const { return "names/" + options_.name; }

  const Common& common_;
  const PingOptions& options_;
  Interrupts& interrupts_;
  PingSession session_;
  std::vector<std::byte> message_;
  std::vector<std::byte> answer_;
  std::unique_ptr<PingFlow> flow_;
  int dial_error_ = 0;
};

bool Pinger::dial() {
  // The name's dial_timeout bounds this wait; Ctrl-C ends it.
  const auto stop = [&] { return interrupts_.stop(); };
  Result<std::unique_ptr<PingFlow>> flow =
      options_.mapped ? dial_mapped(common_.mount, options_.name, stop)
                      : dial_file(common_.path("names/" + options_.name + "/dial"), stop);
  if (!flow) {
    dial_error_ = flow.error().error;
    return false;
  }
  flow_ = std::move(*flow);
  return true;
}

void Pinger::show(const Reply& reply) const {
  if (options_.flood) {
    return;
  }
  if (common_.json) {
    print_json(as_json(reply));
  } else {
    print_text(readable(options_.name, reply) + "\n");
  }
}

Pinger::Step Pinger::send() {
  fill_payload(session_.next_sequence(), message_);
  const std::uint64_t begin_ns = now_ns();
  const Instant deadline = later(Clock::now(), micros_of(options_.wait_s));
  while (flow_->send(message_) < 0) {
    if (errno != EINTR) {
      failed(Deed::transfer, object(), errno);
      return Step::failed;
    }
    if (interrupts_.stop()) {
      return Step::ended;
    }
    if (Clock::now() >= deadline) {
      complain(fmt::format("{} takes nothing more: its reader does not read", object()));
      return Step::failed;
    }
  }
  session_.sent(begin_ns);
  return Step::go_on;
}

// What receive() came to. EINTR is Step::go_on: the caller looks at its deadline.
Pinger::Step Pinger::take_answer(ssize_t bytes) {
  const std::uint64_t end_ns = now_ns();
  if (bytes == 0) {
    complain(fmt::format("{} closed the flow; is its server `flowctl serve --echo`?", object()));
    return Step::ended;
  }
  if (bytes < 0 && errno != EINTR) {
    failed(Deed::transfer, object(), errno);
    return Step::failed;
  }
  if (bytes > 0) {
    if (const auto reply =
            session_.received(std::span(answer_).first(static_cast<std::size_t>(bytes)), end_ns)) {
      show(*reply);
    }
  }
  return Step::go_on;
}

Pinger::Step Pinger::await_answer(Instant deadline) {
  while (session_.awaiting()) {
    if (const Step step = take_answer(flow_->receive(answer_)); step != Step::go_on) {
      return step;
    }
    if (session_.awaiting() && (interrupts_.stop() || Clock::now() >= deadline)) {
      session_.gave_up();
      return Step::timed_out;
    }
  }
  return Step::go_on;
}

// Until it is time for the next message; late answers and the end of the flow are seen meanwhile.
Pinger::Step Pinger::rest_until(Instant next) {
  while (!interrupts_.stop()) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(next - Clock::now());
    if (left.count() <= 0) {
      break;
    }
    if (const Step step = take_answer(flow_->receive_within(answer_, left)); step != Step::go_on) {
      return step;
    }
  }
  return Step::go_on;
}

Pinger::Step Pinger::ping_all() {
  const Micros wait = micros_of(options_.wait_s);
  const Micros interval = options_.flood ? Micros{0} : micros_of(options_.interval_s);
  while (!enough()) {
    const Instant begin = Clock::now();
    interrupts_.arm(wait);
    Step step = send();
    if (step == Step::go_on) {
      step = await_answer(later(begin, wait));
    }
    interrupts_.disarm();
    if (step == Step::timed_out && !interrupts_.stop() && !options_.flood && !common_.json) {
      print_text(fmt::format("no answer to seq={} within {:g} s\n", session_.transmitted(),
                             options_.wait_s));
    }
    if (step == Step::go_on || step == Step::timed_out) {
      step = enough() ? Step::go_on : rest_until(later(begin, interval));
    }
    if (step != Step::go_on) {
      return step;
    }
  }
  return Step::go_on;
}

void Pinger::say_why_through_files() const {
  const auto direct = read_attribute(common_.path(object() + "/direct"));
  const bool asked_for = direct && trim(*direct) == "0";
  complain(fmt::format("{} goes through files: {}", object(),
                       asked_for ? "it asks for that in its file `direct`"
                                 : "it cannot be mapped here, and `flowctl doctor` says why"));
}

int Pinger::run() {
  if (!dial()) {
    const int error = dial_error_;
    failed(Deed::dial, object(), error);
    const bool nobody = error == ETIMEDOUT || error == ECONNREFUSED || error == EINTR;
    return nobody ? kUnanswered : kBroken;
  }
  if (!common_.json) {
    print_text(fmt::format("PING {}: {} bytes of data{}\n", options_.name, options_.size_bytes,
                           options_.mapped && flow_->is_mapped() ? ", mapped" : ""));
  }
  if (options_.mapped && !flow_->is_mapped()) {
    say_why_through_files();
  }
  const std::uint64_t begin_ns = now_ns();
  const Step end = ping_all();
  const std::uint64_t elapsed_ns = now_ns() - begin_ns;
  if (common_.json) {
    print_json(session_.summary_json(options_.name, elapsed_ns));
  } else {
    print_text("\n" + session_.summary(options_.name, elapsed_ns));
  }
  if (end == Step::failed) {
    return kBroken;
  }
  const bool cut_short = end == Step::ended && session_.answered() < options_.count;
  return session_.answered() == 0 || cut_short ? kUnanswered : kAnswered;
}

}  // namespace

int run_ping(const Common& common, const PingOptions& options) {
  if (!check_name(options.name)) {
    return kBroken;
  }
  Result<Interrupts> interrupts = Interrupts::install();
  if (!interrupts) {
    complain(interrupts.error().message());
    return kBroken;
  }
  return Pinger(common, options, *interrupts).run();
}

}  // namespace flowfs::cli
