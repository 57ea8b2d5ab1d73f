// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <map>
#include <memory>
#include <thread>

#include "base/clock.hpp"
#include "cli/commands.hpp"
#include "cli/key_value.hpp"
#include "cli/serve_flow.hpp"

namespace flowfs::cli {
namespace {

// Descriptors that wait in `accept` at once, so that the next client finds one while the last is
// being served.
constexpr std::size_t kWaiting = 4;

std::string_view name_of(ServeRole role) {
  switch (role) {
    case ServeRole::sink:
      return "sink";
    case ServeRole::source:
      return "source";
    case ServeRole::echo:
      break;
  }
  return "echo";
}

// The name for as long as it is served: made where it is missing, and then removed at the end.
class ServedName {
 public:
  ServedName(const Common& common, const std::string& name)
      : object_("names/" + name), path_(common.path(object_)) {}

  // False: it complained.
  bool make(std::optional<std::uint32_t> mode) {
    const mode_t mask = mode ? umask(0) : 0;
    const int result = mkdir(path_.c_str(), mode ? *mode : 0777);
    const int error = errno;
    if (mode) {
      umask(mask);
    }
    made_ = result == 0;
    if (!made_ && error != EEXIST) {
      failed(Deed::make_name, path_, error);
      return false;
    }
    return true;
  }

  // The kernel tells the daemon of a close only after the fact, so the name may be in use for a
  // moment after the last descriptor has gone.
  int remove() {
    if (!made_) {
      return kDone;
    }
    const Instant deadline = Clock::now() + std::chrono::seconds(1);
    while (rmdir(path_.c_str()) != 0) {
      if (errno == ENOENT) {
        break;
      }
      if (errno != EBUSY || Clock::now() >= deadline) {
        return failed(Deed::remove_name, object_, errno);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return kDone;
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::string& object() const { return object_; }

 private:
  std::string object_;
  std::string path_;
  bool made_ = false;
};

class Host {
 public:
  Host(const Common& common, const ServeOptions& options, const ServedName& name)
      : common_(common), options_(options), name_(name) {}

  // False: it complained.
  bool prepare();
  int run();

 private:
  using Flows = std::map<int, std::unique_ptr<ServedFlow>>;

  bool watch(int fd, std::uint32_t events, bool known);
  bool keep_waiting();
  void proceed(Flows::iterator at, std::uint32_t ready);
  void report_up(const ServedFlow& flow) const;
  void report_end(const ServedFlow& flow) const;
  void summary(Instant begin) const;
  [[nodiscard]] bool enough() const { return options_.flows != 0 && ended_ >= options_.flows; }

  const Common& common_;
  const ServeOptions& options_;
  const ServedName& name_;
  Fd epoll_;
  Fd signals_;
  Flows flows_;
  std::vector<std::byte> scratch_;
  std::size_t waiting_ = 0;
  std::uint64_t ended_ = 0;
  Traffic total_;
  bool stop_ = false;
  int exit_ = kDone;
};

bool Host::prepare() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  // A reader of our output that goes away must not keep us from removing the name.
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  signals_ = Fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  if (!signals_ || !epoll_ || !watch(signals_.get(), EPOLLIN, false)) {
    complain(fmt::format("cannot wait for events: {}", errno_in_words(errno)));
    return false;
  }
  return true;
}

bool Host::watch(int fd, std::uint32_t events, bool known) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  return epoll_ctl(epoll_.get(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0;
}

// Opens `accept` until kWaiting descriptors wait there. False: it cannot, and nothing else is left.
bool Host::keep_waiting() {
  const std::uint64_t most =
      options_.flows == 0 ? kWaiting : options_.flows - ended_ - (flows_.size() - waiting_);
  while (waiting_ < kWaiting && waiting_ < most) {
    Result<Fd> fd = open_file(name_.path() + "/accept", open_flags(options_.role) | O_NONBLOCK);
    if (!fd) {
      // At a limit, those that are being served go on, and the next end makes room.
      const int error = fd.error().error;
      const bool go_on = !flows_.empty() && error != ENOENT && error != ENOTCONN;
      if (!go_on || options_.verbose) {
        // Without the mount there is no name either, but that is not what has happened.
        const bool unmounted =
            error == ENOENT && access(common_.path("version").c_str(), F_OK) != 0;
        failed(Deed::accept, name_.object(), unmounted ? ENOTCONN : error);
      }
      return go_on;
    }
    const int number = fd->get();
    auto flow = std::make_unique<ServedFlow>(std::move(*fd), options_, scratch_);
    if (!watch(number, flow->wanted(), false)) {
      complain(fmt::format("cannot wait for {}: {}", name_.object(), errno_in_words(errno)));
      return false;
    }
    flows_.emplace(number, std::move(flow));
    ++waiting_;
  }
  return true;
}

void Host::report_up(const ServedFlow& flow) const {
  if (!options_.verbose) {
    return;
  }
  std::string who;
  if (const auto text = read_attribute(common_.path(fmt::format("flows/{}/peer", flow.id())))) {
    const KeyValues peer = KeyValues::parse_lines(*text);
    const auto uid = peer.number("uid");
    who = fmt::format(": {}, pid {}", uid ? user_name(static_cast<uid_t>(*uid)) : "?",
                      peer.find("pid").value_or("?"));
  }
  complain(fmt::format("flow {} is up{}", flow.id(), who));
}

void Host::report_end(const ServedFlow& flow) const {
  const Traffic& traffic = flow.traffic();
  if (common_.json) {
    nlohmann::ordered_json line{{"type", "flow"},
                                {"flow", flow.id()},
                                {"messages", traffic.messages},
                                {"bytes", traffic.bytes}};
    if (flow.error() != 0) {
      line["error"] = errno_in_words(flow.error());
    }
    print_json(line);
  }
  if (options_.verbose) {
    complain(fmt::format("flow {} has ended: {} messages, {} bytes", flow.id(), traffic.messages,
                         traffic.bytes));
  }
}

void Host::proceed(Flows::iterator at, std::uint32_t ready) {
  ServedFlow& flow = *at->second;
  const bool was_up = flow.is_up();
  const std::uint32_t wanted = flow.wanted();
  const ServedFlow::Outcome outcome = flow.proceed(ready);
  if (!was_up && flow.is_up()) {
    --waiting_;
    report_up(flow);
  }
  if (outcome == ServedFlow::Outcome::pending || outcome == ServedFlow::Outcome::going_on) {
    if (flow.wanted() != wanted) {
      watch(at->first, flow.wanted(), true);
    }
    return;
  }
  if (outcome == ServedFlow::Outcome::failed) {
    failed(Deed::transfer, name_.object(), flow.error());
    exit_ = kFailed;
    // A wait in `accept` that fails will fail again; so will all else when the daemon has gone.
    stop_ = stop_ || !was_up || flow.error() == ECONNABORTED || flow.error() == ENOTCONN;
  }
  report_end(flow);
  total_.messages += flow.traffic().messages;
  total_.bytes += flow.traffic().bytes;
  ++ended_;
  flows_.erase(at);
}

void Host::summary(Instant begin) const {
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (common_.json) {
    print_json({{"type", "summary"},
                {"name", options_.name},
                {"role", name_of(options_.role)},
                {"flows", ended_},
                {"messages", total_.messages},
                {"bytes", total_.bytes},
                {"elapsed_ms", seconds * 1e3}});
  } else {
    print_text(fmt::format("{} flows, {} messages, {} bytes in {:.1f} s\n", ended_, total_.messages,
                           total_.bytes, seconds));
  }
}

int Host::run() {
  const Instant begin = Clock::now();
  if (!keep_waiting()) {
    return kFailed;
  }
  if (common_.json) {
    print_json({{"type", "serving"}, {"name", options_.name}, {"role", name_of(options_.role)}});
  } else {
    print_text(fmt::format("serving {} as {}\n", options_.name, name_of(options_.role)));
  }
  std::array<epoll_event, 64> events{};
  while (!stop_ && !enough()) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int index = 0; index < count && !stop_; ++index) {
      const epoll_event& event = events[static_cast<std::size_t>(index)];
      if (event.data.fd == signals_.get()) {
        stop_ = true;
      } else if (const auto at = flows_.find(event.data.fd); at != flows_.end()) {
        proceed(at, event.events);
      }
    }
    if (!stop_ && !enough() && !keep_waiting()) {
      exit_ = kFailed;
      break;
    }
  }
  for (const auto& [fd, flow] : flows_) {
    if (flow->is_up()) {
      report_end(*flow);
      total_.messages += flow->traffic().messages;
      total_.bytes += flow->traffic().bytes;
      ++ended_;
    }
  }
  flows_.clear();
  summary(begin);
  return exit_;
}

}  // namespace

int run_serve(const Common& common, const ServeOptions& options) {
  if (!check_name(options.name)) {
    return kUsage;
  }
  ServedName name(common, options.name);
  if (!name.make(options.mode)) {
    return kFailed;
  }
  int result = kFailed;
  {
    Host host(common, options, name);
    if (host.prepare()) {
      result = host.run();
    }
  }
  const int removed = name.remove();
  return result == kDone ? removed : result;
}

}  // namespace flowfs::cli
