// SPDX-License-Identifier: BSD-3-Clause
// The data path of file ends: read, write, poll, and who is served when something changes.
#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <new>

#include "fs/ends.hpp"

namespace flowfs::fs {
namespace {

int to_errno(flow::WriteOutcome outcome) {
  switch (outcome) {
    case flow::WriteOutcome::ok:
      return 0;
    case flow::WriteOutcome::full:
      return EAGAIN;
    case flow::WriteOutcome::too_long:
      return EMSGSIZE;
    case flow::WriteOutcome::closed:
      return EPIPE;
    case flow::WriteOutcome::busy:
      return EBUSY;
    case flow::WriteOutcome::corrupt:
      break;
  }
  return EPROTO;
}

void add_sent(registry::NameStats& stats, flow::Side from, flow::Seen sent) {
  if (from == flow::Side::client) {
    stats.messages_from_client += sent.messages;
    stats.bytes_from_client += sent.bytes;
  } else {
    stats.messages_to_client += sent.messages;
    stats.bytes_to_client += sent.bytes;
  }
}

bool may_read(int flags) { return (flags & O_ACCMODE) != O_WRONLY; }
bool may_write(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

}  // namespace

void MessageFile::read(Request request, std::size_t size, const Transfer& transfer) {
  ends_.read(*this, request, size, transfer);
}

void MessageFile::write(Request request, std::span<const std::byte> data,
                        const Transfer& transfer) {
  ends_.write(*this, request, data, transfer);
}

unsigned MessageFile::ready() { return ends_.ready(*this); }

void MessageFile::ioctl(Request request, unsigned command, std::span<const std::byte> in,
                        std::size_t out_size) {
  if (command == FLOWFS_IOC_STATE && out_size >= sizeof(std::uint32_t)) {
    const std::uint32_t state = ends_.state_of(end_);
    fuse_reply_ioctl(request.raw, 0, &state, sizeof state);
    return;
  }
  rules_.ioctl(replies_, request, command, in, out_size, static_cast<std::uint64_t>(end_));
}

int Ends::obstacle(const End& end) const {
  const registry::End* state = registry_.find_end(end.id);
  if (state->state == registry::FlowState::deallocated) {
    return state->error;
  }
  return end.flow ? 0 : EAGAIN;
}

void Ends::read(MessageFile& file, Request request, std::size_t size, const Transfer& transfer) {
  if (transfer.through_cache) {
    replies_.error(request, EINVAL);
    return;
  }
  End* end = find(file.end());
  if (end == nullptr || size == 0) {  // `data` of an end that has gone: end of file
    fuse_reply_buf(request.raw, nullptr, 0);
    return;
  }
  const int error = obstacle(*end);
  if (error != 0 && error != EAGAIN) {
    replies_.error(request, error);
    return;
  }
  // A second READ of one system call may only go on with the message that the first one began.
  if (transfer.offset != 0 && (!end->flow || !end->flow->channel.front(end->side).begun)) {
    fuse_reply_buf(request.raw, nullptr, 0);
    return;
  }
  if (error == 0 && end->readers.empty() && answer_read(*end, request, file, size)) {
    pump(*end->flow, flow::other(end->side));
  } else if ((transfer.flags & O_NONBLOCK) != 0) {
    replies_.error(request, EAGAIN);
  } else {
    parking_.park(end->readers, {.request = request, .file = &file, .size = size});
    wait_for_mapped_peer(*end);
  }
}

// Answers with a message, the end of file or an error; false where there is nothing yet.
bool Ends::answer_read(End& end, Request request, const MessageFile& file, std::size_t size) {
  flow::Channel& channel = end.flow->channel;
  const flow::Channel::Front front = channel.front(end.side);
  switch (front.outcome) {
    case flow::ReadOutcome::empty:
      return false;
    case flow::ReadOutcome::end:
      fuse_reply_buf(request.raw, nullptr, 0);
      return true;
    case flow::ReadOutcome::busy:
      replies_.error(request, EBUSY);
      return true;
    case flow::ReadOutcome::corrupt:
      replies_.error(request, EPROTO);
      return true;
    case flow::ReadOutcome::ok:
      break;
  }
  if (file.rules_.packet_mode() && size < front.rest.size()) {
    replies_.error(request, EMSGSIZE);
    return true;
  }
  const std::size_t part = std::min(size, front.rest.size());
  const auto* bytes = reinterpret_cast<const char*>(front.rest.data());
  // Where the reader has been killed in the meantime, the message stays for the next one.
  if (fuse_reply_buf(request.raw, bytes, part) == 0) {
    channel.consume(end.side, part);
    settle(*end.flow, flow::other(end.side));
  }
  return true;
}

void Ends::write(MessageFile& file, Request request, std::span<const std::byte> data,
                 const Transfer& transfer) {
  End* end = find(file.end());
  if (end == nullptr || data.empty()) {
    replies_.error(request, end == nullptr ? EPIPE : 0);
    return;
  }
  if (const int refused = file.rules_.check_write(transfer, data.size()); refused != 0) {
    replies_.error(request, refused);
    return;
  }
  if (pass_to_reader(*end, data)) {
    fuse_reply_write(request.raw, data.size());
    return;
  }
  int error = obstacle(*end);
  if (error == 0) {
    error = end->writers.empty() ? try_write(*end, data) : EAGAIN;
  }
  if (error == 0) {
    fuse_reply_write(request.raw, data.size());
    pump(*end->flow, end->side);
  } else if (error != EAGAIN || (transfer.flags & O_NONBLOCK) != 0) {
    replies_.error(request, error);
  } else {
    park_write(*end, file, request, data);
  }
}

void Ends::park_write(End& end, MessageFile& file, Request request,
                      std::span<const std::byte> data) {
  if (parking_.park_message(end.writers, {.request = request, .file = &file}, data)) {
    wait_for_mapped_peer(end);
  }
}

// Straight from the writer's buffer to a reader that waits for it: no queue, no copy, no charge.
bool Ends::pass_to_reader(End& end, std::span<const std::byte> data) {
  End* receiver = peer_of(end);
  if (receiver == nullptr || receiver->readers.empty() ||
      receiver->readers.front().size < data.size() ||
      !end.flow->channel.may_pass(end.side, data.size())) {
    return false;
  }
  const Parked reader = receiver->readers.take_front();
  // A reader that has been killed in the meantime gets nothing; the message is still ours to queue.
  if (fuse_reply_buf(reader.request.raw, reinterpret_cast<const char*>(data.data()), data.size()) !=
      0) {
    return false;
  }
  end.flow->channel.passed(end.side, data.size());
  count(end, data.size());
  return true;
}

int Ends::try_write(End& end, std::span<const std::byte> data) {
  Flow& flow = *end.flow;
  const uid_t uid = flow.openers[index(end.side)].uid;
  if (const Status charge = users_.add(uid, registry::Resource::bytes, data.size()); !charge) {
    return charge.error().error;
  }
  flow.charged_bytes[index(end.side)] += data.size();
  flow::WriteOutcome outcome{};
  try {
    outcome = flow.channel.write(end.side, data);
  } catch (const std::bad_alloc&) {
    settle(flow, end.side);
    return ENOMEM;
  }
  settle(flow, end.side);
  if (outcome == flow::WriteOutcome::ok) {
    count(end, data.size());
  } else if (outcome == flow::WriteOutcome::full) {
    end.wants_room = true;
  }
  return to_errno(outcome);
}

void Ends::count(const End& end, std::size_t bytes) {
  add_sent(registry_.stats(end.flow->name), end.side, {.messages = 1, .bytes = bytes});
}

// After whatever may have moved messages: what `from` sent is charged as the channel holds it, and
// its name counts what the daemon saw of a mapped sender. What has come out of a lane is there
// already and is charged over any quota.
void Ends::settle(Flow& flow, flow::Side from) {
  std::uint64_t& charged = flow.charged_bytes[index(from)];
  const std::uint64_t held = flow.channel.queued_bytes(from);
  if (held < charged) {
    users_.subtract(flow.openers[index(from)].uid, registry::Resource::bytes, charged - held);
  } else {
    users_.add_unchecked(flow.openers[index(from)].uid, registry::Resource::bytes, held - charged);
  }
  charged = held;
  const flow::Seen seen = flow.channel.take_seen(from);
  if (seen.messages != 0 && registry_.find_name(flow.name) != nullptr) {
    add_sent(registry_.stats(flow.name), from, seen);
  }
}

bool Ends::serve_reader(End& end) {
  Parked& parked = end.readers.front();
  auto& file = *static_cast<MessageFile*>(parked.file);
  flow::Channel& channel = end.flow->channel;
  if (channel.front(end.side).outcome == flow::ReadOutcome::empty) {
    return false;
  }
  const Parked taken = end.readers.take_front();
  return answer_read(end, taken.request, file, taken.size);
}

bool Ends::serve_writer(End& end) {
  Parked& parked = end.writers.front();
  const std::uint64_t bytes = parked.bytes.amount();
  parked.bytes.reset();  // the queue charges what it takes
  const int error = try_write(end, parked.data);
  if (error == EAGAIN) {
    parked.bytes =  // given back a moment ago; whoever took it meanwhile, it is still here
        users_.charge_unchecked(parked.request.uid(), registry::Resource::bytes, bytes);
    return false;
  }
  const Parked taken = end.writers.take_front();
  if (error == 0) {
    fuse_reply_write(taken.request.raw, taken.data.size());
  } else {
    replies_.error(taken.request, error);
  }
  return true;
}

// Moves what can be moved from `from` to its peer and tells those who poll.
void Ends::pump(Flow& flow, flow::Side from) {
  End* sender = find(flow.ends[index(from)]);
  End* receiver = find(flow.ends[index(flow::other(from))]);
  bool moved = true;
  while (moved) {
    moved = receiver != nullptr && !receiver->readers.empty() && serve_reader(*receiver);
    moved = (sender != nullptr && !sender->writers.empty() && serve_writer(*sender)) || moved;
  }
  if (receiver != nullptr) {
    if (flow.channel.readable(receiver->side)) {
      receiver->wants_data = false;
      notify(*receiver);
    }
    wait_for_mapped_peer(*receiver);
  }
  if (sender != nullptr && sender->wants_room && flow.channel.writable(from)) {
    sender->wants_room = false;
    notify(*sender);
  }
  if (sender != nullptr) {
    wait_for_mapped_peer(*sender);
  }
  settle(flow, from);
  settle(flow, flow::other(from));
}

void Ends::pump_both(Flow& flow) {
  pump(flow, flow::Side::client);
  pump(flow, flow::Side::server);
}

void Ends::wait_for_mapped_peer(End& end) {
  if (!end.flow || !end.flow->channel.is_mapped(flow::other(end.side))) {
    return;
  }
  flow::Channel& channel = end.flow->channel;
  const bool watched =
      std::ranges::any_of(end.files, [](const MessageFile* file) { return file->is_watched(); });
  // What the poller was told counts as well as what is there now: a message that has come since is
  // one that nobody has told it of. One that has been read since is followed by others.
  const bool polled = watched && (end.wants_data || !channel.readable(end.side));
  flow::Interest interest{.data = polled || !end.readers.empty(), .room_bytes = 0};
  if (!end.writers.empty()) {
    interest.room_bytes = end.writers.front().data.size();
  } else if (end.wants_room && watched) {
    interest.room_bytes = channel.limits().mtu_bytes;
  }
  if (interest.data || interest.room_bytes != 0) {
    channel.wait_for(end.side, interest);
  } else {
    channel.stop_waiting(end.side);
  }
}

unsigned Ends::ready(MessageFile& file) {
  End* end = find(file.end());
  if (end == nullptr) {
    return POLLERR | POLLHUP;
  }
  const int error = obstacle(*end);
  if (error != 0) {
    return error == EAGAIN ? 0 : POLLERR | POLLHUP;
  }
  unsigned events = 0;
  flow::Channel& channel = end->flow->channel;
  if (may_read(file.flags())) {
    if (channel.readable(end->side)) {
      events |= POLLIN | POLLRDNORM;
    } else {
      end->wants_data = true;
    }
  }
  // A descriptor that only receives is "writable" too: POLLOUT is how a pending open says that it
  // is up, and a write to it would fail at once.
  if (!may_write(file.flags()) || channel.writable(end->side)) {
    events |= POLLOUT | POLLWRNORM;
  } else {
    end->wants_room = true;
  }
  if (channel.is_closed(flow::other(end->side))) {
    events |= POLLHUP;
  }
  wait_for_mapped_peer(*end);
  return events;
}

}  // namespace flowfs::fs
