// SPDX-License-Identifier: BSD-3-Clause
// The data of one bus: a log that every member reads at its own place, and who waits for whom.
//
//   lossy     a sender never waits: where there is no room the oldest message goes, and is counted
//             as dropped for each member that had not read it, and for no other
//   lossless  a sender waits while a member has too much unread; a member that lets it wait too
//             long may be cut off
//
// What a message costs does not depend on how many members are mapped: what they have read is
// looked at when somebody asks, when a message is about to be forgotten, and of the slowest when
// there is no room.
//
// Threads: one. No clock: `now` is an argument.
// Errors: outcomes. Sending and joining may throw std::bad_alloc, and have changed nothing then.
// Units: bytes of the log, as MessageLog::cost() counts them; messages where it says so.
// Invariants, of every member at every moment:
//   1. due = delivered + dropped + lag, `due` being the messages sent to it since it joined (and
//      the history it got), each counted as what it is worth; totals() are the sums over all that
//      ever were members, what one had not read when it left being dropped. Of a mapped member this
//      is so as of refresh(); what it has not read since then counts as lag. How much of it was
//      delivered is what it says, within what can be; it takes what overtook it for lost though it
//      may have been its own.
//   2. It reads what was sent to it in the order in which that was sent, each message once, whole
//      or not at all, and never what it sent itself.
//   3. log_bytes() <= max(depth, cost of one message, in all its forms), but where a lossless bus
//      had its depth lowered or had been lossy before.
//   4. Nobody waits for room that is there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "bus/member.hpp"
#include "bus/message_log.hpp"
#include "bus/policy.hpp"
#include "bus/shared_log.hpp"

namespace flowfs::bus {

enum class [[nodiscard]] SendOutcome {
  ok,
  full,      // lossless: no room now, or others wait for it already
  too_long,  // longer than the mtu
};

enum class [[nodiscard]] ReadOutcome {
  ok,
  empty,
  overtaken,  // lossy: the message that was being read in parts is gone; told once
};

struct Limits {
  bool lossless = false;
  std::size_t mtu_bytes = 917'504;
  std::size_t depth_bytes = 1'048'576;
  std::uint64_t history = 0;     // messages kept for those who join later
  Micros evict = Micros::max();  // lossless: how long a member may block the bus
};

struct Rights {
  bool receive = false;
  bool send = false;
};

struct PortCounts {
  std::uint64_t sent = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t delivered = 0;
  std::uint64_t delivered_bytes = 0;
  std::uint64_t dropped = 0;
  std::uint64_t lag = 0;  // messages it has still to read, each as what it is worth
};

class Bus {
 public:
  explicit Bus(Limits limits) : limits_(limits) {}

  [[nodiscard]] const Limits& limits() const { return limits_; }
  void set_limits(const Limits& limits, Instant now);
  // Nobody is a member: what was kept is nothing for those who come.
  void forget_history() { log_.trim(0); }

  // `member` outlives its membership. It gets the last `history` messages that were sent to all.
  void join(PortId port, PortNumber number, Member& member, Rights rights);
  // Unknown ports are ignored, here and below (as members that were cut off are).
  void leave(PortId port, Instant now);
  // The same to a member that did not want to: on_cut_off().
  void cut_off(PortId port, Instant now);
  // It has no more than these rights from now on. What it has still to read is dropped with the
  // right to receive, and it does not wait for room without that to send.
  void give_up(PortId port, Rights left, Instant now);
  [[nodiscard]] bool is_member(PortId port) const { return ports_.contains(port); }

  // Sends to every other member that receives. `from` may send; `message` is not empty.
  SendOutcome send(PortId from, std::span<const std::byte> message, Instant now);

  // A message as some members get it; none of them gets another form, or is its sender.
  struct Form {
    std::span<const std::byte> bytes;
    std::span<const PortNumber> to;
    Worth worth;
  };
  // What `from` sent: its length, and what it is counted as, once.
  struct Original {
    PortId from{};
    std::size_t bytes = 0;
    Worth worth;
  };
  // The same to some members, each in its form: to all of them, or to none. Where memory runs out
  // it is std::bad_alloc, and the forms before have been sent.
  SendOutcome send_forms(const Original& original, std::span<const Form> forms, Instant now);

  // What is left of the first message that `port` has to read, valid until the next call that is
  // not const.
  struct Front {
    ReadOutcome outcome = ReadOutcome::empty;
    std::span<const std::byte> rest;
  };
  Front front(PortId port);
  // Whether an earlier read took the first part of it.
  [[nodiscard]] bool has_begun(PortId port) const;
  // Takes `bytes` <= front().rest.size(); the message goes when all of it is taken.
  void consume(PortId port, std::size_t bytes, Instant now);
  [[nodiscard]] bool readable(PortId port) const;
  // Drops for this member what it has to read, but for the newest message. How many.
  std::uint64_t skip(PortId port, Instant now);

  // From now on messages are kept in `log`, which is empty, and lives until unshare(): members may
  // be mapped then. What is kept moves there. Both may throw std::bad_alloc, and have changed
  // nothing then.
  void share(SharedLog& log);
  // No member is mapped.
  void unshare();
  [[nodiscard]] bool is_shared() const { return shared_ != nullptr; }
  // What `port` still has to read it reads there from the place that this returns, and tells how
  // far it has come. `reader` lives until unmap(), or leave(). All that is kept was sent to all.
  struct Start {
    std::uint64_t position = 0;
    std::uint64_t sequence = 0;  // of the message there
  };
  Start map(PortId port, MappedReader& reader);
  // It reads by front() again.
  void unmap(PortId port, Instant now);
  // Mapped members may have read.
  void refresh(Instant now);
  // The one that was awaited has.
  void has_read(Instant now);
  // A mapped member is told of the next message, once: on_message().
  void await_message(PortId port);

  // --- a bus whose only sender writes a log of its own (bus_apart.cpp)
  //
  // Mapped members read that log *apart*: what is sent here is not for them, and their owner tells
  // what they were sent and have read. Members that are files get copies here.

  // What a member had still to read when it was set apart, and can read where it is.
  struct Unread {
    PortId port{};
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint64_t begin = 0;     // where the first of them lies in the log
    std::uint64_t sequence = 0;  // and its number there
    // Of MappedReader::Said, what is counted already. Of `lost` that may be more than it has said.
    std::uint64_t told_lost = 0;
    std::uint64_t told_bytes = 0;
  };
  // unshare() with members that are mapped: each reads on, apart from now on, in the log that was
  // shared, which stays as it is.
  std::vector<Unread> part(Instant now);
  // Sets a file apart. Of what it has not read it can read what lies behind `from` in the sender's
  // log; the rest is dropped.
  Unread set_apart(PortId port, std::uint64_t from, Instant now);
  // What it was sent (as `lag`), has read and has lost apart, since the last time.
  void count_apart(PortId port, const PortCounts& change, Instant now);
  // What it has not read apart it will never read.
  void forget_apart(PortId port);
  // Messages in the log of their sender, seen there or not.
  void count_sent(PortId from, std::uint64_t messages, std::uint64_t bytes);
  // A copy of one, which lies there, for those who read here.
  void copy(PortId from, std::span<const std::byte> message, SharedLog::Extent extent, Instant now);
  // That many could not be copied.
  void miss(PortId from, std::uint64_t messages);

  // Whether there is room for any message; if not, on_room() comes when there is.
  [[nodiscard]] bool writable(PortId port);
  // After `full`: on_room() when it is this member's turn and there is room for `bytes`, in all the
  // forms that they had. Members that wait get their turns in the order in which they came.
  void wait_for_room(PortId port, std::size_t bytes, Instant now);
  void stop_waiting(PortId port, Instant now);

  // Cuts off who has blocked the bus too long.
  void tick(Instant now);
  [[nodiscard]] Instant next_deadline() const;

  [[nodiscard]] std::size_t log_bytes() const { return log_.bytes(); }
  [[nodiscard]] PortCounts counts(PortId port) const;
  [[nodiscard]] PortCounts totals() const;
  // Empty, or what is wrong, in words. Slow: for tests.
  [[nodiscard]] std::string check_invariants() const;

 private:
  using Place = MessageLog::Place;
  // Forgotten records until mapped members are looked at: seldom, and with little to remember.
  static constexpr std::size_t kMostGone = 256;
  static constexpr Place kNoPlace = UINT64_MAX;

  struct Port {
    PortId id{};
    PortNumber number{};
    Member* member = nullptr;
    Rights rights;
    Place next = 0;                 // nothing before it is still to be read
    std::size_t consumed = 0;       // of the message at `next`
    bool overtaken = false;         // to be told
    bool woken = false;             // in woken_
    bool wants_room = false;        // writable() said no
    std::size_t refused_more = 0;   // what its forms took beyond its message, when it was `full`
    bool apart = false;             // nothing that is sent here is for it
    std::uint64_t apart_lag = 0;    // not in counts
    Instant blocks_since = kNever;  // a sender waits for it
    PortCounts counts;              // `lag` only where it is a file

    // --- mapped
    MappedReader* reader = nullptr;
    std::vector<Place> own;        // what it sent itself, from `next` on, of which it is none
    bool awaits_message = false;   // in listeners_
    std::uint64_t forced = 0;      // places that were dropped for it, and it has not passed
    Place at = 0;                  // where it is, as it says
    std::uint64_t told_lost = 0;   // of Said::lost, what is counted
    std::uint64_t told_bytes = 0;  // of Said::bytes
    std::uint64_t bytes_from = 0;  // pushed_bytes_ before the first message for it
  };
  using Ports = std::map<PortId, Port>;
  struct Waiting {
    PortId port{};
    std::size_t bytes = 0;
  };

  [[nodiscard]] Port* find(PortId id);
  [[nodiscard]] const Port* find(PortId id) const;
  SendOutcome admit(PortId from, std::size_t longest, std::size_t bytes, Instant now);
  void store(MessageLog::Record record, std::span<const std::byte> message, Instant now);
  void push(MessageLog::Record record, std::span<const std::byte> message, Port* mapped_sender);
  void count_sent(PortId from, Worth worth) { count_sent(from, worth.messages, worth.bytes); }
  [[nodiscard]] MessageLog::Audience audience_of(std::span<const PortNumber> to) const;
  [[nodiscard]] bool has_room(std::size_t bytes) const;
  void shrink_to_depth();
  void drop_first();
  void give_history(Port& port);
  void drop_unread(Port& port);
  void sort_in(Port& port);
  [[nodiscard]] static bool has_to_read(const Port& port, Place place,
                                        const MessageLog::Record& record);
  [[nodiscard]] std::uint64_t lag_of(const Port& port) const;
  [[nodiscard]] std::span<const std::byte> payload_of(const MessageLog::Record& record) const;
  void lay_down(MessageLog::Record& record, std::span<const std::byte> message);
  void give_up_shared();
  [[nodiscard]] std::vector<std::unique_ptr<std::byte[]>> copies() const;
  void keep_copies(std::vector<std::unique_ptr<std::byte[]>> copies);
  Unread give_over(Port& port, std::uint64_t from);
  void wake(Port& port);
  void wake_listeners(const Port* but);
  void catch_up(Port& port);
  void catch_up_all();
  bool catch_up_slowest();
  [[nodiscard]] Port* slowest() const;
  void release_mapped();
  void make_room(std::size_t bytes);
  void note_gone(Place place);
  [[nodiscard]] std::optional<Place> place_behind(std::uint64_t position, Place from) const;
  std::uint64_t take_up_to(Port& port, Place place);
  void count_passed(Port& port, std::uint64_t lost);
  void count_bytes(Port& port, std::uint64_t said);
  void await_mapped();
  void count_delivered(Port& port, std::uint64_t messages, std::uint64_t bytes);
  void count_dropped(Port& port, std::uint64_t messages);
  void settle(Instant now);
  bool wake_one();
  bool give_turn();
  bool tell_poller();
  void note_blockers(Instant now);

  Limits limits_;
  MessageLog log_;
  SharedLog* shared_ = nullptr;
  Ports ports_;
  std::map<PortNumber, PortId> numbers_;
  // These have a place for every port.
  std::vector<Port*> files_;      // that receive here and by front()
  std::vector<Port*> mapped_;     // that have a reader
  std::vector<Port*> listeners_;  // of mapped_, who awaits a message
  std::vector<PortId> woken_;     // on_message() is due
  // While there are mapped members one of `unread` of each record from here on is theirs, until all
  // are known to have passed it.
  Place mapped_next_ = kNoPlace;
  // Where the records ended, from gone_first_ to the first of the log, that not all of them were
  // known to have passed when they were forgotten. Has room for kMostGone.
  std::vector<std::uint64_t> gone_;
  Place gone_first_ = 0;
  std::uint64_t pushed_bytes_ = 0;
  std::deque<Waiting> waiting_;  // for room, first come first served
  std::optional<PortId> turn_;   // whose on_room() is running
  std::size_t pollers_ = 0;      // ports with wants_room
  bool settling_ = false;
  PortCounts totals_;
  std::uint64_t apart_lag_ = 0;  // of all
};

}  // namespace flowfs::bus
