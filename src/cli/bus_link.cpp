// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <poll.h>

#include <array>

#include "cli/bus_actions.hpp"
#include "cli/bus_member.hpp"

namespace flowfs::cli {
namespace {

// How often a bus that is away is tried.
constexpr int kRetry_ms = 200;

// One of the two buses.
struct Side {
  std::string bus;
  std::optional<BusMember> member;  // none: it is away
  std::vector<std::byte> pending;   // for this bus; empty: nothing
  std::uint64_t sent = 0;           // to this bus
  std::uint64_t too_long = 0;       // for this bus
};

class Link {
 public:
  Link(const Common& common, const BusOptions& options, Interrupts& interrupts)
      : common_(common),
        interrupts_(interrupts),
        sides_{Side{.bus = options.words[0], .member = {}, .pending = {}},
               Side{.bus = options.words[1], .member = {}, .pending = {}}} {}

  int run();

 private:
  int join(Side& side);
  void join_those_away();
  void lose(Side& side, int error);
  void wait();
  void receive(Side& from, Side& to);
  void send(Side& side);
  void report() const;

  const Common& common_;
  Interrupts& interrupts_;
  std::array<Side, 2> sides_;
};

int Link::join(Side& side) {
  auto member = BusMember::join(common_, side.bus, O_RDWR | O_NONBLOCK);
  if (!member) {
    return member.error().error;
  }
  side.member = std::move(*member);
  return 0;
}

void Link::lose(Side& side, int error) {
  side.member.reset();
  complain(fmt::format("buses/{} has gone: {}; it will be joined again", side.bus,
                       errno_in_words(error)));
}

void Link::join_those_away() {
  for (Side& side : sides_) {
    if (!side.member && join(side) == 0) {
      complain(fmt::format("buses/{} is joined again", side.bus));
    }
  }
}

// One message is under way in each direction; the next is not read before it is sent.
void Link::receive(Side& from, Side& to) {
  const auto message = from.member->receive();
  if (message) {
    to.pending.assign(message->begin(), message->end());
    send(to);
  } else if (message.error().error != EAGAIN && message.error().error != EINTR) {
    lose(from, message.error().error);
  }
}

void Link::send(Side& side) {
  if (!side.member) {
    return;  // it waits until the bus is back
  }
  const Status sent = side.member->send(side.pending);
  const int error = sent ? 0 : sent.error().error;
  if (error == EAGAIN || error == EINTR) {
    return;
  }
  if (error != 0 && error != EMSGSIZE) {
    lose(side, error);
    return;
  }
  ++(error == 0 ? side.sent : side.too_long);
  side.pending.clear();
}

void Link::wait() {
  std::array<pollfd, 2> polls{};
  bool away = false;
  for (std::size_t i = 0; i < polls.size(); ++i) {
    const Side& side = sides_[i];
    const Side& other = sides_[1 - i];
    away = away || !side.member;
    polls[i].fd = side.member ? side.member->fd() : -1;
    polls[i].events = static_cast<short>((other.pending.empty() ? POLLIN : 0) |
                                         (side.pending.empty() ? 0 : POLLOUT));
  }
  if (poll(polls.data(), polls.size(), away ? kRetry_ms : -1) < 0) {
    return;  // a signal
  }
  for (std::size_t i = 0; i < polls.size(); ++i) {
    Side& side = sides_[i];
    Side& other = sides_[1 - i];
    const int ready = polls[i].revents;
    if (side.member && (ready & POLLOUT) != 0 && !side.pending.empty()) {
      send(side);
    }
    if (side.member && (ready & POLLIN) != 0 && other.pending.empty()) {
      receive(side, other);
    } else if (side.member && (ready & (POLLERR | POLLHUP)) != 0) {
      lose(side, ECONNABORTED);
    }
  }
}

void Link::report() const {
  if (!common_.json) {
    for (const Side& side : sides_) {
      print_text(fmt::format("{} messages to buses/{}, {} too long for it\n", side.sent, side.bus,
                             side.too_long));
    }
    return;
  }
  for (const Side& side : sides_) {
    print_json({{"bus", side.bus}, {"sent", side.sent}, {"too_long", side.too_long}});
  }
}

int Link::run() {
  for (Side& side : sides_) {
    if (const int error = join(side); error != 0) {
      return failed(Deed::bus, "buses/" + side.bus, error);
    }
  }
  while (!interrupts_.stop()) {
    wait();
    join_those_away();
  }
  report();
  return kDone;
}

}  // namespace

int link_buses(const Common& common, const BusOptions& options, Interrupts& interrupts) {
  if (options.words[0] == options.words[1]) {
    complain("a bus cannot be linked to itself: every message would come back for ever");
    return kUsage;
  }
  return Link(common, options, interrupts).run();
}

}  // namespace flowfs::cli
