// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <sys/epoll.h>

#include <array>
#include <map>
#include <memory>

#include "cli/commands.hpp"
#include "cli/serve_flow.hpp"
#include "cli/serve_report.hpp"
#include "cli/served_name.hpp"

namespace flowfs::cli {
namespace {

class Host {
 public:
  Host(const Common& common, const ServeOptions& options, const ServedName& name)
      : options_(options), name_(name), report_(common, options) {}

  // False: it complained.
  bool prepare();
  int run();

 private:
  using Flows = std::map<int, std::unique_ptr<ServedFlow>>;

  bool watch(int fd, std::uint32_t events, bool known);
  bool keep_waiting();
  void proceed(Flows::iterator at, std::uint32_t ready);
  [[nodiscard]] bool enough() const {
    return options_.flows != 0 && report_.ended() >= options_.flows;
  }

  const ServeOptions& options_;
  const ServedName& name_;
  Fd epoll_;
  Fd signals_;
  Flows flows_;
  std::vector<std::byte> scratch_;
  std::size_t waiting_ = 0;
  ServeReport report_;
  bool stop_ = false;
  int exit_ = kDone;
};

bool Host::prepare() {
  signals_ = catch_ends();
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

// Opens `accept` until kWaitingEnds descriptors wait there. False: it cannot, and nothing else is
// left.
bool Host::keep_waiting() {
  const std::uint64_t most = options_.flows == 0
                                 ? kWaitingEnds
                                 : options_.flows - report_.ended() - (flows_.size() - waiting_);
  while (waiting_ < kWaitingEnds && waiting_ < most) {
    Result<Fd> fd = open_file(name_.path() + "/accept", open_flags(options_.role) | O_NONBLOCK);
    if (!fd) {
      // At a limit, those that are being served go on, and the next end makes room.
      const int error = fd.error().error;
      const bool go_on = !flows_.empty() && error != ENOENT && error != ENOTCONN;
      if (!go_on || options_.verbose) {
        name_.complain_of_accept(error);
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

void Host::proceed(Flows::iterator at, std::uint32_t ready) {
  ServedFlow& flow = *at->second;
  const bool was_up = flow.is_up();
  const std::uint32_t wanted = flow.wanted();
  const ServedFlow::Outcome outcome = flow.proceed(ready);
  if (!was_up && flow.is_up()) {
    --waiting_;
    report_.up(flow.id());
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
  report_.end(flow.id(), flow.traffic(), flow.error());
  flows_.erase(at);
}

int Host::run() {
  if (!keep_waiting()) {
    return kFailed;
  }
  report_.serving();
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
      report_.end(flow->id(), flow->traffic(), flow->error());
    }
  }
  flows_.clear();
  report_.summary();
  return report_.all_in_order() ? exit_ : kFailed;
}

}  // namespace

namespace {

int serve_files(const Common& common, const ServeOptions& options, const ServedName& name) {
  Host host(common, options, name);
  return host.prepare() ? host.run() : kFailed;
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
  const int result = (options.mapped ? serve_mapped : serve_files)(common, options, name);
  const int removed = name.remove();
  return result == kDone ? removed : result;
}

}  // namespace flowfs::cli
