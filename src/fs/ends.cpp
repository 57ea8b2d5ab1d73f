// SPDX-License-Identifier: BSD-3-Clause
// Opening, pairing, closing. The data path is in ends_data.cpp.
#include "fs/ends.hpp"

#include <fcntl.h>
#include <malloc.h>

#include <algorithm>
#include <utility>

#include "flowfs/wire.h"
#include "fs/event_log.hpp"
#include "fs/mapped_ends.hpp"
#include "fs/meta.hpp"

namespace flowfs::fs {
namespace {

// Ends at once from which their memory is worth giving back when all have gone.
constexpr std::size_t kCrowd = 1000;

registry::Rights rights_of(int flags) {
  const int access = flags & O_ACCMODE;
  return {.receive = access != O_WRONLY, .send = access != O_RDONLY};
}

std::uint32_t to_wire(registry::FlowState state) {
  switch (state) {
    case registry::FlowState::alloc_pending:
      return FLOWFS_STATE_ALLOC_PENDING;
    case registry::FlowState::accept_pending:
      return FLOWFS_STATE_ACCEPT_PENDING;
    case registry::FlowState::allocated:
      return FLOWFS_STATE_ALLOCATED;
    case registry::FlowState::dealloc_pending:
      return FLOWFS_STATE_DEALLOC_PENDING;
    case registry::FlowState::deallocated:
      break;
  }
  return FLOWFS_STATE_DEALLOCATED;
}

flow::Limits limits_of(const registry::NameSettings& settings) {
  return {.mtu_bytes = settings.mtu_bytes, .depth_bytes = settings.depth_bytes};
}

}  // namespace

Flow::Flow(Ends& owner, flow::Limits limits, registry::NameId name_id)
    : table(owner), channel(limits), name(name_id) {}

Flow::~Flow() = default;

void Flow::on_mapped_peer_activity(flow::Channel& /*which*/) {
  const std::shared_ptr<Flow> kept = shared_from_this();
  table.pump_both(*this);
  for (const registry::FlowId id : ends) {
    if (End* end = table.find(id); end != nullptr) {
      Ends::notify(*end);
      table.wait_for_mapped_peer(*end);
    }
  }
}

MessageFile::~MessageFile() { ends_.closed(*this); }

Ends::Ends(Loop& loop, registry::Registry& registry, registry::Users& users, Parking& parking,
           FileTable& files, EventLog& events, Replies& replies, Handshakes& handshakes)
    : registry_(registry),
      users_(users),
      parking_(parking),
      files_(files),
      events_(events),
      replies_(replies),
      handshakes_(handshakes),
      timer_(loop.timer([this] {
        registry_.tick(Clock::now());
        drain_effects();
      })) {}

Ends::~Ends() = default;

End* Ends::find(registry::FlowId id) const {
  const auto it = ends_.find(id);
  return it == ends_.end() ? nullptr : it->second.get();
}

void Ends::mark_looked_up(Node node) {
  End* end = node.kind == Kind::flow ? find(registry::FlowId{node.object}) : nullptr;
  if (end != nullptr) {
    end->looked_up = true;
  }
}

End* Ends::peer_of(const End& end) {
  return end.flow ? find(end.flow->ends[index(flow::other(end.side))]) : nullptr;
}

void Ends::open_end(Request request, Node node, int flags, registry::NameId name, flow::Side side,
                    const GivenSecurity& given) {
  // First: an open that fails after it was paired would cost the other end its flow.
  auto descriptor = files_.reserve(request.uid());
  if (!descriptor) {
    replies_.error(request, descriptor.error().error);
  } else if (side == flow::Side::client && handshakes_.wanted(given, Clock::now())) {
    ask(request, node, flags, name, given, std::move(*descriptor));
  } else {
    join(request, node, flags, name, side, std::move(*descriptor), nullptr);
  }
}

void Ends::ask(Request request, Node node, int flags, registry::NameId name,
               const GivenSecurity& given, registry::Charge descriptor) {
  const registry::Name* const found = registry_.find_name(name);
  const std::uint64_t serial = ++last_asking_;
  if (found == nullptr) {
    replies_.error(request, ENOENT);
    return;
  }
  auto made = std::make_unique<Asking>(parking_, [this, serial] { asking_.erase(serial); });
  made->name = name;
  made->uid = request.uid();
  made->given = given;
  made->text = found->name;
  Asking& asking = *asking_.emplace(serial, std::move(made)).first->second;
  if (!try_handshake(serial, asking)) {
    asking_.erase(serial);
    replies_.error(request, EAGAIN);
  } else if (!parking_.park(asking.opening, {.request = request,
                                             .node = node,
                                             .flags = flags,
                                             .descriptor = std::move(descriptor)})) {
    asking_.erase(serial);
  }
}

// False where too many wait for theirs.
bool Ends::try_handshake(std::uint64_t serial, const Asking& asking) {
  return handshakes_.try_run(
      asking.text, asking.given, asking.uid, [this, serial] { return asking_.contains(serial); },
      [this, serial](Admission admission) { answered(serial, std::move(admission)); });
}

void Ends::answered(std::uint64_t serial, Admission admission) {
  const auto it = asking_.find(serial);
  if (it == asking_.end()) {
    return;  // interrupted meanwhile
  }
  const registry::Name* const name = registry_.find_name(it->second->name);
  if (name != nullptr && name->name != it->second->text) {
    it->second->text = name->name;
    if (try_handshake(serial, *it->second)) {
      return;
    }
    admission.error = EAGAIN;
  }
  const std::unique_ptr<Asking> asking = std::move(it->second);
  asking_.erase(it);
  Parked parked = asking->opening.take_front();
  if (name == nullptr) {
    replies_.error(parked.request, ENOENT);  // what was asked for is not there any more
    return;
  }
  if (admission.error != 0) {
    ++registry_.stats(name->id).refused;
    replies_.error(parked.request, admission.error);
    return;
  }
  join(parked.request, parked.node, parked.flags, name->id, flow::Side::client,
       std::move(parked.descriptor), std::make_unique<Admission>(std::move(admission)));
}

void Ends::join(Request request, Node node, int flags, registry::NameId name, flow::Side side,
                registry::Charge descriptor, std::unique_ptr<Admission> admission) {
  const auto who = request.opener();
  const bool nonblock = (flags & O_NONBLOCK) != 0;
  const Instant now = Clock::now();
  const auto id = side == flow::Side::client
                      ? registry_.open_dial(name, who, rights_of(flags), nonblock, now)
                      : registry_.open_accept(name, who, rights_of(flags), now);
  if (!id) {
    replies_.error(request, id.error().error);
    drain_effects();
    return;
  }
  auto made = std::make_unique<End>(*id, side, parking_, [this, flow_id = *id] {
    release(flow_id);
    drain_effects();
  });
  End& end = *ends_.emplace(*id, std::move(made)).first->second;
  most_ends_ = std::max(most_ends_, ends_.size());
  end.opener = who;
  end.admission = std::move(admission);
  end.born = wall_clock_now();

  const registry::End* state = registry_.find_end(*id);
  if (state->state == registry::FlowState::allocated) {
    connect(end, state->peer);
    finish_open(end, request, node, flags, std::move(descriptor));
  } else if (nonblock) {
    finish_open(end, request, node, flags, std::move(descriptor));
  } else if (!parking_.park(end.opening, {.request = request,
                                          .node = node,
                                          .flags = flags,
                                          .descriptor = std::move(descriptor)})) {
    release(*id);
  }
  drain_effects();
}

void Ends::open_data(Request request, Node node, int flags, registry::FlowId id) {
  End* end = find(id);
  if (end == nullptr) {
    replies_.error(request, ESTALE);
    return;
  }
  auto file = files_.add(std::make_unique<MessageFile>(*this, replies_, node, flags, id, false),
                         request.uid());
  if (!file) {
    replies_.error(request, file.error().error);
    return;
  }
  end->files.push_back(static_cast<MessageFile*>(*file));
  if (!reply_open(request, *file, OpenMode::message)) {
    files_.remove(*file);
  }
}

void Ends::finish_open(End& end, Request request, Node node, int flags,
                       registry::Charge descriptor) {
  File* file = files_.add(std::make_unique<MessageFile>(*this, replies_, node, flags, end.id, true),
                          std::move(descriptor));
  end.files.push_back(static_cast<MessageFile*>(file));
  if (!reply_open(request, file, OpenMode::message)) {
    files_.remove(file);  // releases the end with its owner
  }
}

// Makes the flow that `end` and its waiting peer share.
void Ends::connect(End& end, registry::FlowId peer_id) {
  const registry::End* state = registry_.find_end(end.id);
  const registry::End* peer_state = registry_.find_end(peer_id);
  End* peer = find(peer_id);
  FLOWFS_CHECK(state != nullptr && peer_state != nullptr && peer != nullptr);
  const registry::Name* name = registry_.find_name(state->name);
  auto flow = std::make_shared<Flow>(*this, limits_of(name->settings), name->id);
  flow->direct = name->settings.direct;
  for (const registry::End* one : {state, peer_state}) {
    End& joined = one == state ? end : *peer;
    flow->ends[index(joined.side)] = joined.id;
    flow->openers[index(joined.side)] = one->opener;
    if (!one->rights.send) {
      flow->channel.shutdown_write(joined.side);
    }
    if (!one->rights.receive) {
      flow->channel.shutdown_read(joined.side);
    }
    joined.flow = flow;
    if (joined.admission != nullptr) {
      if (auto& keys = joined.admission->keys; keys) {
        flow->channel.encrypt(std::move(*keys));
        keys.reset();
      }
      flow->admission = std::move(joined.admission);
    }
  }
}

// The descriptor goes; with the owner goes the end.
void Ends::closed(MessageFile& file) {
  End* end = find(file.end());
  if (end == nullptr) {
    return;
  }
  end->readers.fail_of(&file, ECONNABORTED);
  end->writers.fail_of(&file, ECONNABORTED);
  std::erase(end->files, &file);
  if (file.owner()) {
    release(end->id);
    drain_effects();
  }
}

void Ends::release(registry::FlowId id) {
  const auto it = ends_.find(id);
  if (it == ends_.end()) {
    return;
  }
  // Out of the map first, so that what is cancelled below finds nothing to release again.
  const std::unique_ptr<End> end = std::move(it->second);
  ends_.erase(it);
  registry_.release(id);
  if (end->flow) {
    end->flow->channel.set_state(end->side, FLOWFS_STATE_DEALLOCATED);
    end->flow->channel.close(end->side);
    end->flow->pool_lanes.leave(end->side);
    settle(*end->flow, flow::other(end->side));  // what it had not read is dropped
  }
  end->readers.fail_all(ECONNABORTED);
  end->writers.fail_all(ECONNABORTED);
  notify(*end);
  if (on_end_gone) {
    on_end_gone(id, end->looked_up);
  }
  if (ends_.empty() && most_ends_ > kCrowd) {
    most_ends_ = 0;
    malloc_trim(0);  // what a crowd left behind goes back to the machine
  }
}

std::uint32_t Ends::state_of(registry::FlowId id) const {
  const registry::End* end = registry_.find_end(id);
  return end != nullptr ? to_wire(end->state) : FLOWFS_STATE_DEALLOCATED;
}

void Ends::show_states(Flow& flow) {
  for (const flow::Side side : {flow::Side::client, flow::Side::server}) {
    if (const registry::End* end = registry_.find_end(flow.ends[index(side)]); end != nullptr) {
      flow.channel.set_state(side, to_wire(end->state));
    }
  }
}

// Reads and writes of the file side end; the peer's may go on through shared memory from here.
void Ends::on_attached(End& end) {
  const std::shared_ptr<Flow> flow = end.flow;
  end.readers.fail_all(EBUSY);
  end.writers.fail_all(EBUSY);
  settle(*flow, flow::other(end.side));
  pump_both(*flow);
  notify(end);
}

void Ends::on_detached(End& end) {
  const std::shared_ptr<Flow> flow = end.flow;
  pump_both(*flow);
  notify(end);
  if (End* peer = peer_of(end); peer != nullptr) {
    notify(*peer);
  }
}

void Ends::failed(registry::FlowId id, int error) {
  End* end = find(id);
  if (end == nullptr) {
    return;
  }
  if (!end->opening.empty()) {
    const Parked parked = end->opening.take_front();
    release(id);
    replies_.error(parked.request, error);
    return;
  }
  end->readers.fail_all(error);
  end->writers.fail_all(error);
  notify(*end);
}

void Ends::drain_effects() {
  while (registry_.has_effects()) {
    for (const registry::Effect& effect : registry_.take_effects()) {
      switch (effect.kind) {
        case registry::Effect::Kind::established:
          if (End* end = find(effect.flow); end != nullptr) {
            if (!end->opening.empty()) {
              Parked parked = end->opening.take_front();
              finish_open(*end, parked.request, parked.node, parked.flags,
                          std::move(parked.descriptor));
            } else {
              notify(*end);
            }
          }
          if (End* end = find(effect.flow); end != nullptr && end->flow) {
            pump_both(*end->flow);
          }
          break;
        case registry::Effect::Kind::failed:
          failed(effect.flow, effect.error);
          break;
        case registry::Effect::Kind::peer_gone:
          if (End* end = find(effect.flow); end != nullptr && end->flow) {
            show_states(*end->flow);
            pump_both(*end->flow);
            notify(*end);
          }
          break;
        case registry::Effect::Kind::event:
          events_.publish(effect.event);
          break;
      }
    }
  }
  const Instant deadline = registry_.next_deadline();
  if (deadline != timer_.deadline()) {
    timer_.arm(deadline);
  }
}

Status Ends::shutdown(registry::FlowId id, bool reading, bool writing) {
  End* end = find(id);
  if (end == nullptr || !end->flow) {
    return fail(ENOTCONN);
  }
  const std::shared_ptr<Flow> flow = end->flow;
  if (writing) {
    flow->channel.shutdown_write(end->side);
  }
  if (reading) {
    flow->channel.shutdown_read(end->side);
    flow->pool_lanes.settle();
    settle(*flow, flow::other(end->side));
  }
  pump_both(*flow);
  for (const registry::FlowId one : flow->ends) {
    if (End* touched = find(one); touched != nullptr) {
      notify(*touched);
    }
  }
  return {};
}

Status Ends::close(registry::FlowId id) {
  End* end = find(id);
  if (end == nullptr) {
    return fail(ENOTCONN);
  }
  if (end->flow) {
    end->flow->channel.close(end->side);
    end->flow->pool_lanes.leave(end->side);
    settle(*end->flow, flow::other(end->side));
  }
  registry_.close(id, ECONNABORTED);
  if (end->flow) {
    show_states(*end->flow);
  }
  failed(id, ECONNABORTED);
  drain_effects();
  return {};
}

void Ends::abort_all(int error) {
  // Out of the map first, from which each takes itself when it ends.
  for (const auto& [serial, asking] : std::exchange(asking_, {})) {
    asking->opening.fail_all(error);
  }
  for (const registry::FlowId id : registry_.ends()) {
    if (End* end = find(id); end != nullptr) {
      end->readers.fail_all(error);
      end->writers.fail_all(error);
      end->opening.fail_all(error);  // last: the end may go with it
    }
  }
}

void Ends::notify(End& end) {
  for (MessageFile* file : end.files) {
    file->notify();
  }
}

}  // namespace flowfs::fs
