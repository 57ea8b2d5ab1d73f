// SPDX-License-Identifier: BSD-3-Clause
// The ends of flows: how they come, find each other, and go.
#include <algorithm>
#include <utility>

#include "registry/flow_state.hpp"
#include "registry/paths.hpp"
#include "registry/registry.hpp"

namespace flowfs::registry {

namespace {

ServerProcess process_of(const End& end) { return {end.opener.uid, end.opener.pid}; }

Instant deadline_after(Instant now, std::uint64_t timeout_us) {
  constexpr auto kLongest = static_cast<std::uint64_t>(Micros::max().count());
  return later(now, Micros(static_cast<Micros::rep>(std::min(timeout_us, kLongest))));
}

}  // namespace

Registry::NameRecord& Registry::record_of(NameId id) {
  const auto record = names_.find(id);
  FLOWFS_CHECK(record != names_.end());
  return record->second;
}

Result<FlowId> Registry::open_accept(NameId name, Opener who, Rights rights, Instant /*now*/) {
  const auto found = names_.find(name);
  if (found == names_.end()) {
    return fail(ENOENT, "accept");
  }
  NameRecord& record = found->second;
  Result<Charge> charge = users_.charge(who.uid, Resource::flows, 1);
  if (!charge) {
    return std::unexpected(charge.error());
  }
  End& server =
      add_end(name, Side::server, FlowState::accept_pending, who, rights, std::move(*charge)).end;
  if (!record.clients.empty()) {
    End& client = ends_.at(record.clients.next()).end;
    stop_waiting(client);
    establish(record, server, client);
    return server.id;
  }
  if (record.servers.empty()) {
    publish(EventKind::flow_waiting, path_of_name(record.name.name), who.uid,
            "flow=" + text_of(server.id));
  }
  record.servers.add(server.id, process_of(server));
  return server.id;
}

Result<FlowId> Registry::open_dial(NameId name, Opener who, Rights rights, bool nonblock,
                                   Instant now) {
  const auto found = names_.find(name);
  if (found == names_.end()) {
    return fail(ENOENT, "dial");
  }
  NameRecord& record = found->second;
  const NameSettings& settings = record.name.settings;
  Result<Charge> charge = users_.charge(who.uid, Resource::flows, 1);
  if (!charge) {
    return std::unexpected(charge.error());
  }
  const bool served = !record.servers.empty();
  if (!served && settings.dial_timeout_us == 0) {
    ++record.name.stats.refused;
    publish(EventKind::flow_refused, path_of_name(record.name.name), who.uid);
    return fail(ECONNREFUSED, "dial: nobody accepts");
  }
  if (!served && nonblock && !record.clients.has_place(who.uid)) {
    return fail(EAGAIN, "dial: backlog");
  }
  End& client =
      add_end(name, Side::client, FlowState::alloc_pending, who, rights, std::move(*charge)).end;
  if (served) {
    End& server = ends_.at(record.servers.next()).end;
    record.servers.remove(server.id, process_of(server));
    establish(record, client, server);
    return client.id;
  }
  client.deadline = deadline_after(now, settings.dial_timeout_us);
  if (client.deadline != kNever) {
    deadlines_.insert({client.deadline, client.id});
  }
  record.clients.add(client.id, who.uid);
  return client.id;
}

Registry::EndRecord& Registry::add_end(NameId name, Side side, FlowState state, Opener who,
                                       Rights rights, Charge charge) {
  EndRecord record;
  record.end.id = FlowId{next_flow_++};
  record.end.name = name;
  record.end.side = side;
  record.end.state = state;
  record.end.opener = who;
  record.end.rights = rights;
  record.charge = std::move(charge);
  const FlowId id = record.end.id;
  return ends_.emplace(id, std::move(record)).first->second;
}

// `actor` has just opened; `waiting` was taken out of its queue for it.
void Registry::establish(NameRecord& name, End& actor, End& waiting) {
  actor.peer = waiting.id;
  waiting.peer = actor.id;
  advance(actor.state, FlowState::allocated);
  advance(waiting.state, FlowState::allocated);
  name.servers.flow_began(process_of(actor.side == Side::server ? actor : waiting));
  ++name.name.stats.flows_now;
  ++name.name.stats.flows_ever;
  effects_.push_back(
      {.kind = Effect::Kind::established, .flow = waiting.id, .peer = actor.id, .event = {}});
  publish(EventKind::flow_allocated, path_of_flow(actor.id), actor.opener.uid,
          "peer=" + text_of(waiting.id) + " name=" + name.name.name);
}

void Registry::release(FlowId flow) {
  const auto record = ends_.find(flow);
  if (record != ends_.end()) {
    leave(record->second.end);
    ends_.erase(record);
  }
}

void Registry::close(FlowId flow, int error) {
  const auto record = ends_.find(flow);
  if (record == ends_.end() || record->second.end.state == FlowState::deallocated) {
    return;
  }
  End& end = record->second.end;
  leave(end);
  advance(end.state, FlowState::deallocated);
  end.error = error;
}

// Undoes what the end's state means to others; the caller takes the end itself away.
void Registry::leave(End& end) {
  switch (end.state) {
    case FlowState::alloc_pending:
      stop_waiting(end);
      return;
    case FlowState::accept_pending:
      record_of(end.name).servers.remove(end.id, process_of(end));
      return;
    case FlowState::allocated: {
      End& peer = ends_.at(end.peer).end;
      advance(peer.state, FlowState::dealloc_pending);
      effects_.push_back(
          {.kind = Effect::Kind::peer_gone, .flow = peer.id, .peer = end.id, .event = {}});
      break;
    }
    case FlowState::dealloc_pending:
      end_flow(record_of(end.name), end);
      break;
    case FlowState::deallocated:
      return;
  }
  if (end.side == Side::server) {
    record_of(end.name).servers.flow_ended(process_of(end));
  }
}

// The other end went before: `last` was all that was left of the flow.
void Registry::end_flow(NameRecord& name, const End& last) {
  --name.name.stats.flows_now;
  publish(EventKind::flow_deallocated, path_of_flow(last.id), last.opener.uid,
          "peer=" + text_of(last.peer) + " name=" + name.name.name);
}

void Registry::stop_waiting(End& client) {
  record_of(client.name).clients.remove(client.id, client.opener.uid);
  deadlines_.erase({client.deadline, client.id});
  client.deadline = kNever;
}

// For a client that is out of its name's queues.
void Registry::fail_waiting(End& client, int error) {
  deadlines_.erase({client.deadline, client.id});
  client.deadline = kNever;
  advance(client.state, FlowState::deallocated);
  client.error = error;
  effects_.push_back(
      {.kind = Effect::Kind::failed, .flow = client.id, .error = error, .event = {}});
}

void Registry::tick(Instant now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    End& client = ends_.at(deadlines_.begin()->second).end;
    NameRecord& record = record_of(client.name);
    record.clients.remove(client.id, client.opener.uid);
    fail_waiting(client, ETIMEDOUT);
    ++record.name.stats.timed_out;
    publish(EventKind::flow_timed_out, path_of_flow(client.id), client.opener.uid,
            "name=" + record.name.name);
  }
}

}  // namespace flowfs::registry
