// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <poll.h>

#include <array>

#include "cli/bus_actions.hpp"
#include "cli/message_file.hpp"
#include "cli/served_name.hpp"

namespace flowfs::cli {
namespace {

// How often an end that is away is tried.
constexpr int kRetry_ms = 200;
constexpr Micros kRetry = std::chrono::milliseconds(kRetry_ms);

// One of the two ends: a bus, or a flow behind which another link has its bus.
struct Side {
  const char* folder = "buses";
  std::string name;
  std::string file;                 // of it that is opened
  std::optional<MessageFile> open;  // none: it is away
  Instant next_try{};               // to open it
  bool up = false;                  // open, and a flow has its other end
  bool was_up = false;              // at any time
  bool told = false;                // that it is not up
  bool reads_over = false;          // nothing more comes from there
  bool writes_over = false;         // nobody is there to get anything
  std::vector<std::byte> pending;   // for this end; empty: nothing
  std::uint64_t sent = 0;           // to this end
  std::uint64_t too_long = 0;       // for this end

  [[nodiscard]] bool is_flow() const { return file != "bus"; }
  [[nodiscard]] std::string object() const { return fmt::format("{}/{}", folder, name); }
};

std::array<Side, 2> sides_of(const BusOptions& options) {
  std::array<Side, 2> sides;
  sides[0].name = options.words[0];
  sides[0].file = "bus";
  if (options.dial.empty() && options.accept.empty()) {
    sides[1].name = options.words[1];
    sides[1].file = "bus";
  } else {
    sides[1].folder = "names";
    sides[1].name = options.dial.empty() ? options.accept : options.dial;
    sides[1].file = options.dial.empty() ? "accept" : "dial";
  }
  return sides;
}

class Link {
 public:
  Link(const Common& common, const BusOptions& options, Interrupts& interrupts)
      : common_(common), interrupts_(interrupts), sides_(sides_of(options)) {}

  // Until a signal. Then the ends are closed.
  int run();

 private:
  int open(Side& side);
  void came_up(Side& side);
  void open_those_away();
  void lose(Side& side, int error);
  void wait();
  void serve(Side& side, Side& other, int ready);
  void receive(Side& from, Side& to);
  void send(Side& side);
  void report() const;

  const Common& common_;
  Interrupts& interrupts_;
  std::array<Side, 2> sides_;
};

int Link::open(Side& side) {
  const std::string path = common_.path(fmt::format("{}/{}", side.object(), side.file));
  auto file = MessageFile::open(path, O_RDWR | O_NONBLOCK);
  if (!file) {
    return file.error().error;
  }
  side.open = std::move(*file);
  side.reads_over = false;
  side.writes_over = false;
  if (!side.is_flow()) {
    came_up(side);
  }
  return 0;
}

void Link::came_up(Side& side) {
  side.up = true;
  const bool again = std::exchange(side.was_up, true);
  if (std::exchange(side.told, false)) {
    complain(fmt::format("{} is joined{}", side.object(), again ? " again" : ""));
  }
}

void Link::lose(Side& side, int error) {
  side.open.reset();
  side.next_try = later(Clock::now(), kRetry);
  side.up = false;
  if (std::exchange(side.told, true)) {
    return;
  }
  const bool closed = side.is_flow() && error == ECONNABORTED;
  complain(fmt::format("{} {}: {}; it will be joined {}", side.object(),
                       side.was_up ? "has gone" : "is not there yet",
                       closed ? "its other end has closed" : errno_in_words(error),
                       side.was_up ? "again" : "when it is"));
}

void Link::open_those_away() {
  for (Side& side : sides_) {
    if (!side.open && Clock::now() >= side.next_try && open(side) != 0) {
      side.next_try = later(Clock::now(), kRetry);
    }
  }
}

// One message is under way in each direction; the next is not read before it is sent.
void Link::receive(Side& from, Side& to) {
  const auto message = from.open->receive();
  if (message) {
    to.pending.assign(message->begin(), message->end());
    send(to);
  } else if (message.error().error == ECONNABORTED) {
    from.reads_over = true;
  } else if (message.error().error != EAGAIN && message.error().error != EINTR) {
    lose(from, message.error().error);
  }
}

void Link::send(Side& side) {
  if (!side.open || side.writes_over) {
    return;  // it waits until the end is back
  }
  const Status sent = side.open->send(side.pending);
  const int error = sent ? 0 : sent.error().error;
  if (error == EAGAIN || error == EINTR) {
    return;
  }
  if (error == EPIPE) {
    side.writes_over = true;  // there may still be something to read
    return;
  }
  if (error != 0 && error != EMSGSIZE) {
    lose(side, error);
    return;
  }
  ++(error == 0 ? side.sent : side.too_long);
  side.pending.clear();
}

void Link::serve(Side& side, Side& other, int ready) {
  if ((ready & POLLERR) != 0) {
    const auto why = side.open->receive();
    lose(side, why ? ECONNABORTED : why.error().error);
    return;
  }
  if ((ready & POLLOUT) != 0 && !side.up) {
    came_up(side);
  }
  if ((ready & POLLOUT) != 0 && !side.pending.empty()) {
    send(side);
  }
  if (side.open && (ready & POLLIN) != 0 && !side.reads_over && other.pending.empty()) {
    receive(side, other);
  }
  side.writes_over = side.writes_over || (ready & POLLHUP) != 0;
}

void Link::wait() {
  std::array<pollfd, 2> polls{};
  bool away = false;
  for (std::size_t i = 0; i < polls.size(); ++i) {
    const Side& side = sides_[i];
    const bool reads = !side.reads_over && sides_[1 - i].pending.empty();
    const bool writes = !side.writes_over && (!side.pending.empty() || !side.up);
    away = away || !side.open;
    // What the other end has left says so as long as it is asked, whatever it is asked for.
    polls[i].fd = side.open && (reads || !side.writes_over) ? side.open->fd() : -1;
    polls[i].events = static_cast<short>((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
  }
  if (poll(polls.data(), polls.size(), away ? kRetry_ms : -1) < 0) {
    return;  // a signal
  }
  for (std::size_t i = 0; i < polls.size(); ++i) {
    if (sides_[i].open && polls[i].fd >= 0) {
      serve(sides_[i], sides_[1 - i], polls[i].revents);
    }
  }
  for (Side& side : sides_) {
    if (side.open && side.reads_over && side.writes_over) {
      lose(side, ECONNABORTED);
    }
  }
}

void Link::report() const {
  for (const Side& side : sides_) {
    if (common_.json) {
      print_json({{side.is_flow() ? "name" : "bus", side.name},
                  {"sent", side.sent},
                  {"too_long", side.too_long}});
    } else {
      print_text(fmt::format("{} messages to {}, {} too long for it\n", side.sent, side.object(),
                             side.too_long));
    }
  }
}

int Link::run() {
  for (Side& side : sides_) {
    const int error = open(side);
    if (side.is_flow() && (error == ECONNREFUSED || error == EAGAIN)) {
      lose(side, error);  // nobody waits for it at this moment
    } else if (error != 0) {
      const Deed deed = !side.is_flow()         ? Deed::bus
                        : side.file == "accept" ? Deed::accept
                                                : Deed::dial;
      return failed(deed, side.object(), error);
    }
  }
  while (!interrupts_.stop()) {
    wait();
    open_those_away();
  }
  for (Side& side : sides_) {
    side.open.reset();
  }
  report();
  return kDone;
}

}  // namespace

int link_buses(const Common& common, const BusOptions& options, Interrupts& interrupts) {
  if (options.words.size() == 2 && options.words[0] == options.words[1]) {
    complain("a bus cannot be linked to itself: every message would come back for ever");
    return kUsage;
  }
  Link link(common, options, interrupts);
  if (options.accept.empty()) {
    return link.run();
  }
  ServedName name(common, options.accept);
  if (!name.make(std::nullopt)) {
    return kFailed;
  }
  const int code = link.run();
  const int removed = name.remove();
  return code != kDone ? code : removed;
}

}  // namespace flowfs::cli
