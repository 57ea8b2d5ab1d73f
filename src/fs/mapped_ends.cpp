// SPDX-License-Identifier: BSD-3-Clause
#include "fs/mapped_ends.hpp"

#include <fcntl.h>

#include <utility>

#include "base/log.hpp"

namespace flowfs::fs {
namespace {

std::size_t index(View view) { return static_cast<std::size_t>(view) - 1; }

}  // namespace

// --- SegmentNode
// -----------------------------------------------------------------------------------

SegmentNode::SegmentNode(MappedEnds& owner, const Flow& flow, flow::Side side)
    : owner_(owner), flow_(flow), side_(side), serial_(owner.next_serial_++) {
  owner_.nodes_.emplace(serial_, this);
}

SegmentNode::~SegmentNode() {
  owner_.nodes_.erase(serial_);
  owner_.sweep_.arm(Clock::now());  // its end's status slot goes a moment later
}

registry::FlowId SegmentNode::end_of(View view) const {
  return flow_.ends[index(view == View::tx ? side_ : flow::other(side_))];
}

// --- MappedFile
// ------------------------------------------------------------------------------------

MappedFile::~MappedFile() {
  detach();
  if (status_of_) {
    mapped_.status_closed(*status_of_);
  }
}

void MappedFile::ioctl(Request request, unsigned command, std::span<const std::byte> /*in*/,
                       std::size_t out_size) {
  if (command != FLOWFS_IOC_ATTACH || out_size < sizeof(flowfs_attach)) {
    replies_.error(request, ENOTTY);
    return;
  }
  if (!transmitter_ || (flags() & O_ACCMODE) != O_RDWR) {
    replies_.error(request, EBADF);
    return;
  }
  const Result<flowfs_attach> answer = mapped_.attach(*transmitter_);
  if (!answer) {
    replies_.error(request, answer.error().error);
    return;
  }
  owner_.begin();
  fuse_reply_ioctl(request.raw, 0, &*answer, sizeof *answer);
}

void MappedFile::flush(Request request, std::uint64_t lock_owner) {
  if (owner_.is_farewell(lock_owner)) {
    detach();
  }
  replies_.error(request, 0);
}

void MappedFile::detach() {
  if (owner_.end()) {
    mapped_.detach(*transmitter_);
  }
}

// --- MappedEnds
// ------------------------------------------------------------------------------------

MappedEnds::MappedEnds(Loop& loop, registry::Users& users, Ends& ends, FileTable& files,
                       Replies& replies, Backings& backings)
    : loop_(loop),
      users_(users),
      ends_(ends),
      files_(files),
      replies_(replies),
      backings_(backings),
      sweep_(loop.timer([this] { drop_unused_statuses(); })) {}

MappedEnds::~MappedEnds() = default;

SegmentNode& MappedEnds::segment_node(Flow& flow, flow::Side side) {
  auto& node = flow.segment_nodes[index(side)];
  if (!node) {
    node = std::make_unique<SegmentNode>(*this, flow, side);
  }
  return *node;
}

std::optional<Node> MappedEnds::node(End& end, View view) {
  if (!end.flow) {
    return std::nullopt;
  }
  const flow::Side side = view == View::tx ? end.side : flow::other(end.side);
  return Node{Kind::segment, segment_node(*end.flow, side).serial(),
              static_cast<std::uint8_t>(view)};
}

std::optional<MappedEnds::Seen> MappedEnds::find(Node segment) const {
  const auto it = nodes_.find(segment.object);
  const auto view = static_cast<View>(segment.file);
  if (it == nodes_.end() || (view != View::tx && view != View::rx)) {
    return std::nullopt;
  }
  const registry::FlowId end = it->second->end_of(view);
  return ends_.find(end) == nullptr ? std::nullopt : std::optional(Seen{end, view});
}

std::uint64_t MappedEnds::bytes(Node segment) const {
  const auto seen = find(segment);
  const auto size =
      flow::Channel::segment_bytes(ends_.find(seen->end)->flow->channel.limits(), hot_ring_bytes_);
  return size.value_or(0);
}

std::uint64_t MappedEnds::status_bytes() {
  return std::uint64_t{pool::StatusFile::kSlots} * sizeof(flowfs_status);
}

Result<pool::StatusFile*> MappedEnds::status_of(uid_t uid) {
  auto& status = statuses_[uid];
  if (!status) {
    auto file = pool::StatusFile::create(uid);
    if (!file) {
      return std::unexpected(file.error());
    }
    status = std::make_unique<UserStatus>(UserStatus{std::move(*file), {}, 0});
  }
  return &status->file;
}

// A uid that maps nothing any more costs nothing.
void MappedEnds::drop_unused_statuses() {
  std::erase_if(statuses_, [](const auto& entry) {
    return entry.second->file.in_use() == 0 && entry.second->opens == 0;
  });
}

// Both segments of a flow, paid for by whoever asks first.
Status MappedEnds::make_segments(Flow& flow, uid_t payer) {
  if (!backings_.available()) {
    return fail(EOPNOTSUPP, "files of this mount cannot be mapped");
  }
  if (!flow.channel.has_segments()) {
    const auto size = flow::Channel::segment_bytes(flow.channel.limits(), hot_ring_bytes_);
    if (!size) {
      return std::unexpected(size.error());
    }
    auto charge = users_.charge(payer, registry::Resource::bytes, 2 * *size);
    if (!charge) {
      return std::unexpected(charge.error());
    }
    flow.segment_charge = std::move(*charge);
  }
  flow::MappedSetup setup{.loop = &loop_,
                          .listener = &flow,
                          .blocks = &flow.pool_lanes,
                          .ends = {},
                          .hot_ring_bytes = hot_ring_bytes_};
  for (const flow::Side side : {flow::Side::client, flow::Side::server}) {
    const registry::Opener& opener = flow.openers[index(side)];
    const auto status = status_of(opener.uid);
    if (!status) {
      return std::unexpected(status.error());
    }
    const registry::FlowId id = flow.ends[index(side)];
    setup.ends[index(side)] = {.flow = static_cast<std::uint64_t>(id),
                               .uid = opener.uid,
                               .gid = opener.gid,
                               .pid = opener.pid,
                               .status = ends_.find(id) != nullptr ? *status : nullptr};
  }
  if (Status made = flow.channel.make_segments(setup); !made) {
    if (!flow.channel.has_segments()) {
      flow.segment_charge.reset();
    }
    return made;
  }
  ends_.show_states(flow);
  for (const flow::Side side : {flow::Side::client, flow::Side::server}) {
    if (Status registered = register_views(flow, side); !registered) {
      return registered;
    }
  }
  return {};
}

Status MappedEnds::register_views(Flow& flow, flow::Side side) {
  if (backings_.handed_out()) {
    return {};
  }
  SegmentNode& node = segment_node(flow, side);
  for (Backing& backing : node.backings_) {
    if (backing) {
      continue;
    }
    const auto view = flow.channel.segment(side);
    if (!view) {
      return std::unexpected(view.error());
    }
    auto added = backings_.add(view->fd);
    if (!added) {
      return std::unexpected(added.error());
    }
    backing = std::move(*added);
  }
  flow.channel.close_segment_fd(side);
  return {};
}

void MappedEnds::open(Request request, Node segment, int flags) {
  const auto seen = find(segment);
  if (!seen) {
    replies_.error(request, ESTALE);
    return;
  }
  // The mode says so too, but root passes over modes.
  if (seen->view == View::rx && (flags & O_ACCMODE) != O_RDONLY) {
    replies_.error(request, EACCES);
    return;
  }
  // Kept: what is answered below may release the end.
  const std::shared_ptr<Flow> flow = ends_.find(seen->end)->flow;
  if (const Status made = make_segments(*flow, request.uid()); !made) {
    replies_.error(request, errno_for_caller(made.error().error));
    return;
  }
  const int backing = nodes_.at(segment.object)->backings_[index(seen->view)].id();
  const auto transmitter =
      seen->view == View::tx ? std::optional(seen->end) : std::optional<registry::FlowId>{};
  reply_mapped(request, std::make_unique<MappedFile>(*this, replies_, segment, flags, transmitter),
               backing);
}

void MappedEnds::open_status(Request request, Node node, uid_t uid, int flags) {
  if ((flags & O_ACCMODE) != O_RDONLY) {
    replies_.error(request, EACCES);
    return;
  }
  const auto status = status_of(uid);
  if (!status) {
    replies_.error(request, status.error().error);
    return;
  }
  Backing& backing = statuses_[uid]->backing;
  if (!backings_.handed_out() && !backing) {
    auto added = backings_.add((*status)->fd().get());
    if (!added) {
      replies_.error(request, added.error().error);
      return;
    }
    backing = std::move(*added);
  }
  auto file = std::make_unique<MappedFile>(*this, replies_, node, flags, std::nullopt);
  file->shows_status_of(uid);
  ++statuses_[uid]->opens;
  reply_mapped(request, std::move(file), backing.id());
}

Result<int> MappedEnds::memory(Node segment, bool writable, uid_t by) {
  const auto seen = find(segment);
  if (!seen) {
    return fail(ESTALE, "segment");
  }
  if (seen->view == View::rx && writable) {
    return fail(EACCES, "rx is read-only");
  }
  const std::shared_ptr<Flow> flow = ends_.find(seen->end)->flow;
  if (const Status made = make_segments(*flow, by); !made) {
    return std::unexpected(made.error());
  }
  const auto found = flow->channel.segment(nodes_.at(segment.object)->side_);
  return found ? Result<int>(found->fd) : std::unexpected(found.error());
}

Result<int> MappedEnds::status_memory(uid_t uid, bool writable) const {
  const auto found = statuses_.find(uid);
  if (found == statuses_.end()) {
    return fail(ENOENT, "status");
  }
  return writable ? fail(EACCES, "status is read-only")
                  : Result<int>(found->second->file.fd().get());
}

void MappedEnds::status_closed(uid_t uid) {
  --statuses_[uid]->opens;
  sweep_.arm(Clock::now());
}

void MappedEnds::reply_mapped(Request request, std::unique_ptr<MappedFile> file, int backing) {
  const bool maps_end = file->is_of_transmitter();
  auto kept = files_.add(std::move(file), request.uid());
  if (!kept) {
    replies_.error(request, kept.error().error);
    return;
  }
  if (!reply_open_mapped(request, *kept, backing, maps_end)) {
    files_.remove(*kept);
  }
}

Result<flowfs_attach> MappedEnds::attach(registry::FlowId id) {
  End* end = ends_.find(id);
  if (end == nullptr || !end->flow) {
    return fail(EPIPE, "the end has gone");
  }
  if (!direct_ || !end->flow->direct) {
    return fail(EOPNOTSUPP, "everything goes through the daemon");
  }
  auto answer = end->flow->channel.attach(end->side);
  if (answer) {
    ends_.on_attached(*end);
  }
  return answer;
}

void MappedEnds::detach(registry::FlowId id) {
  End* end = ends_.find(id);
  if (end == nullptr || !end->flow) {
    return;  // closed: the channel has given its segment up
  }
  // The segment's inodes end with it, and the next one has its own. There is one as long as there
  // are status slots, as whoever drops those waits for its end.
  end->flow->segment_nodes[index(end->side)] =
      std::make_unique<SegmentNode>(*this, *end->flow, end->side);
  if (const Status detached = end->flow->channel.detach(end->side); !detached) {
    // No memory for a new segment: the channel is poisoned, and both ends will hear of it (EPROTO).
    log::warning("cannot give a flow a new segment: flow={} error=\"{}\"",
                 static_cast<std::uint64_t>(id), detached.error().message());
  }
  end->flow->pool_lanes.leave(end->side);
  ends_.on_detached(*end);
}

}  // namespace flowfs::fs
