// SPDX-License-Identifier: BSD-3-Clause
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "model.hpp"

namespace flowfs::registry::sim {

namespace {

bool alive(const End& end) {
  return end.state == FlowState::allocated || end.state == FlowState::dealloc_pending;
}

bool waits(const End& end) { return end.state == FlowState::alloc_pending; }

auto number(auto id) { return std::to_underlying(id); }

}  // namespace

// --- who waits, and who is next
// --------------------------------------------------------------------

bool Model::has_place(const NameModel& name, uid_t uid) const {
  const std::uint64_t capacity = name.name.settings.backlog;
  std::map<uid_t, std::uint64_t> held;
  std::uint64_t taken = 0;
  for (const EndModel& end : ends_) {
    if (end.end.name == name.name.id && waits(end.end) && end.place.admitted) {
      ++held[end.end.opener.uid];
      ++taken;
    }
  }
  if (capacity == kUnlimited || taken >= capacity) {
    return capacity == kUnlimited;
  }
  if (uid == 0 || uid == name.name.owner) {
    return true;
  }
  const std::uint64_t free = capacity - taken;
  const std::uint64_t mine = held[uid];  // from here on `uid` is among those counted
  const std::uint64_t of_owner = held[name.name.owner];
  if (free - 1 + of_owner < capacity / 10 && !lies_) {
    return false;  // it would leave the owner less than a tenth
  }
  std::uint64_t foreign = 0;
  for (const auto& [other_uid, places] : held) {
    const bool counts = other_uid == uid || places > 0;
    foreign += counts && other_uid != 0 && other_uid != name.name.owner ? 1 : 0;
  }
  return mine == 0 || mine < (free + mine) / (foreign + 1);
}

void Model::admit(const NameModel& name) {
  for (EndModel& end : ends_) {
    if (end.end.name == name.name.id && waits(end.end) && !end.place.admitted &&
        has_place(name, end.end.opener.uid)) {
      end.place = {true, ++clock_};
      admit(name);  // from the start again
      return;
    }
  }
}

Model::EndModel* Model::next_client(NameId id) {
  EndModel* best = nullptr;
  const auto rank = [](const EndModel& end) {
    return std::tuple(!end.place.admitted, end.place.ticket, end.end.id);
  };
  for (EndModel& end : ends_) {
    if (end.end.name == id && waits(end.end) && (best == nullptr || rank(end) < rank(*best))) {
      best = &end;
    }
  }
  return best;
}

std::uint64_t Model::merit(const NameModel& name, const End& server) const {
  const auto process = std::pair(server.opener.uid, server.opener.pid);
  switch (name.name.settings.balance) {
    case Balance::fifo:
      return 0;
    case Balance::round_robin: {
      const auto last = name.last_served.find(process);
      return last == name.last_served.end() ? 0 : last->second;
    }
    case Balance::least_flows:
      break;
  }
  return static_cast<std::uint64_t>(std::ranges::count_if(ends_, [&](const EndModel& other_end) {
    const End& end = other_end.end;
    return end.name == server.name && end.side == Side::server && alive(end) &&
           std::pair(end.opener.uid, end.opener.pid) == process;
  }));
}

Model::EndModel* Model::next_server(const NameModel& name) {
  EndModel* best = nullptr;
  for (EndModel& end : ends_) {
    if (end.end.name == name.name.id && end.end.state == FlowState::accept_pending &&
        (best == nullptr || std::pair(merit(name, end.end), end.end.id) <
                                std::pair(merit(name, best->end), best->end.id))) {
      best = &end;
    }
  }
  return best;
}

// --- ends
// ------------------------------------------------------------------------------------------

void Model::add_end(FlowId flow, NameId id, Side side, FlowState state, Opener who, Rights rights) {
  reused_id_ |= !flow_ids_.insert(flow).second;
  End end;
  end.id = flow;
  end.name = id;
  end.side = side;
  end.state = state;
  end.opener = who;
  end.rights = rights;
  ends_.push_back({end, {}});
}

int Model::open_accept(NameId id, Opener who, Rights rights, FlowId flow) {
  NameModel* name = find_name(id);
  if (name == nullptr) {
    return ENOENT;
  }
  if (const int error = charge_error(who.uid, Resource::flows); error != 0) {
    return error;
  }
  const bool first = next_server(*name) == nullptr;
  add_end(flow, id, Side::server, FlowState::accept_pending, who, rights);
  if (EndModel* client = next_client(id)) {
    establish(*name, find_end(flow)->end, client->end);
  } else if (first) {
    event(EventKind::flow_waiting, fmt::format("names/{}", name->name.name), who.uid,
          fmt::format("flow={}", number(flow)));
  }
  return 0;
}

int Model::open_dial(NameId id, Opener who, Rights rights, bool nonblock, Instant now,
                     FlowId flow) {
  NameModel* name = find_name(id);
  if (name == nullptr) {
    return ENOENT;
  }
  if (const int error = charge_error(who.uid, Resource::flows); error != 0) {
    return error;
  }
  const bool served = next_server(*name) != nullptr;
  const std::uint64_t timeout = name->name.settings.dial_timeout_us;
  if (!served && timeout == 0) {
    ++name->name.stats.refused;
    event(EventKind::flow_refused, fmt::format("names/{}", name->name.name), who.uid);
    return ECONNREFUSED;
  }
  if (!served && nonblock && !has_place(*name, who.uid)) {
    return EAGAIN;
  }
  add_end(flow, id, Side::client, FlowState::alloc_pending, who, rights);
  EndModel& client = *find_end(flow);
  if (served) {
    establish(*name, client.end, next_server(*name)->end);
    return 0;
  }
  client.end.deadline = timeout == kUnlimited ? kNever : now + Micros(timeout);
  admit(*name);
  return 0;
}

void Model::establish(NameModel& name, End& actor, End& other_end) {
  actor.peer = other_end.id;
  other_end.peer = actor.id;
  for (End* end : {&actor, &other_end}) {
    end->state = FlowState::allocated;
    end->deadline = kNever;
    if (end->side == Side::server) {
      name.last_served[{end->opener.uid, end->opener.pid}] = ++clock_;
    }
  }
  ++name.name.stats.flows_ever;
  effects_.push_back(fmt::format("established {} with {}", number(other_end.id), number(actor.id)));
  event(EventKind::flow_allocated, fmt::format("flows/{}", number(actor.id)), actor.opener.uid,
        fmt::format("peer={} name={}", number(other_end.id), name.name.name));
  admit(name);
}

// `end` is about to go (released) or has become deallocated.
void Model::leave(EndModel& end, bool gone) {
  const End before = end.end;
  end.end.deadline = kNever;
  end.end.state = FlowState::deallocated;
  NameModel* name = find_name(before.name);
  if (before.state == FlowState::allocated) {
    find_end(before.peer)->end.state = FlowState::dealloc_pending;
    effects_.push_back(fmt::format("peer_gone {} lost {}", number(before.peer), number(before.id)));
  } else if (before.state == FlowState::dealloc_pending) {
    event(EventKind::flow_deallocated, fmt::format("flows/{}", number(before.id)),
          before.opener.uid, fmt::format("peer={} name={}", number(before.peer), name->name.name));
  }
  if (gone) {
    std::erase_if(ends_, [&](const EndModel& e) { return e.end.id == before.id; });
  }
  if (name != nullptr) {
    admit(*name);
  }
}

void Model::release(FlowId flow) {
  if (EndModel* end = find_end(flow)) {
    leave(*end, true);
  }
}

void Model::close(FlowId flow, int error) {
  EndModel* end = find_end(flow);
  if (end != nullptr && end->end.state != FlowState::deallocated) {
    end->end.error = error;
    leave(*end, false);
  }
}

void Model::fail(EndModel& client, int error) {
  client.end.state = FlowState::deallocated;
  client.end.deadline = kNever;
  client.end.error = error;
  effects_.push_back(fmt::format("failed {} error {}", number(client.end.id), error));
}

void Model::tick(Instant now) {
  while (next_deadline() <= now) {
    const auto due = std::ranges::find_if(
        ends_, [&](const EndModel& end) { return end.end.deadline == next_deadline(); });
    NameModel& name = *find_name(due->end.name);
    fail(*due, ETIMEDOUT);
    ++name.name.stats.timed_out;
    event(EventKind::flow_timed_out, fmt::format("flows/{}", number(due->end.id)),
          due->end.opener.uid, fmt::format("name={}", name.name.name));
    admit(name);
  }
}

Instant Model::next_deadline() const {
  Instant next = kNever;
  for (const EndModel& end : ends_) {
    next = std::min(next, end.end.deadline);
  }
  return next;
}

}  // namespace flowfs::registry::sim
