// SPDX-License-Identifier: BSD-3-Clause
#include "lib/attachment.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <utility>

#include "lib/tree_memory.hpp"
#include "pool/shared.hpp"

namespace flowfs::lib {
namespace {

// The peer may be changing its mode at this moment; each try waits for the daemon to say so.
constexpr int kTries = 8;
constexpr int kPatienceMs = 5;

Result<Fd> open_file(const std::string& path, int flags) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY));
  if (!fd) {
    return fail_errno("open");
  }
  return fd;
}

}  // namespace

const flowfs_segment& PeerSegment::header() const { return pool::segment_header(bytes); }

flowfs_segment& Attachment::own() const { return pool::segment_header(tx.bytes()); }

const flowfs_status& Attachment::status() const { return *slot; }

pool::Generation Attachment::peer_generation() const {
  // seq_cst: after a commit, so that whoever takes over from the peer sees the commit or is seen.
  return pool::Generation{pool::shared(status().peer_generation).load(std::memory_order_seq_cst)};
}

bool Attachment::shares_pool() const {
  // seq_cst: after a hand-over, so that the daemon, which stores it before it looks at what is in
  // flight, sees the block or is seen.
  return seat &&
         pool::shared(status().pool).load(std::memory_order_seq_cst) == seat->member->serial();
}

void Attachment::join_pool(const std::string& mount) {
  for (int tries = sealed == nullptr ? 2 : 0; tries > 0; --tries) {
    const auto member = PoolMember::of(mount);
    if (!member) {
      return;
    }
    if (const auto lane = (*member)->join(answer.flow)) {
      seat = PoolSeat{.member = *member, .lane = *lane};
      return;
    }
    PoolMember::living().forget(**member);  // perhaps of a daemon that has gone
  }
}

Result<std::shared_ptr<const PeerSegment>> Attachment::map_peer() const {
  for (int left = kTries; left > 0; --left) {
    const pool::Generation generation = peer_generation();
    const auto fd = open_file(folder + "/rx", O_RDONLY);
    if (!fd) {
      return std::unexpected(fd.error());
    }
    auto mapping = map_memory(*fd, geometry.segment_bytes(), Mapping::Access::read_only, mount_path,
                              {.file = FLOWFS_MEMORY_RX, .object = answer.flow});
    if (!mapping) {
      return std::unexpected(mapping.error());
    }
    if (pool::check_segment(mapping->bytes(), geometry, answer.peer_flow, generation) ==
        pool::AttachOutcome::ok) {
      const std::span<const std::byte> bytes = mapping->bytes();
      return std::make_shared<const PeerSegment>(std::move(*mapping), bytes, generation);
    }
    if (generation == peer_generation()) {
      return fail(EPROTO, "segment of the peer");
    }
  }
  return fail(EAGAIN, "segment of the peer");
}

Result<std::unique_ptr<Attachment>> Attachment::try_attach(const std::string& mount,
                                                           std::uint64_t id) {
  auto made = std::unique_ptr<Attachment>(new Attachment);
  made->mount_path = mount;
  made->folder = mount + "/flows/" + std::to_string(id);
  auto tx = open_file(made->folder + "/tx", O_RDWR);
  if (!tx) {
    return std::unexpected(tx.error());
  }
  made->tx_fd = std::move(*tx);
  if (::ioctl(made->tx_fd.get(), FLOWFS_IOC_ATTACH, &made->answer) != 0) {
    return fail_errno("attach");
  }
  const flowfs_attach& answer = made->answer;
  const auto geometry = pool::Geometry::from(answer);
  if (!geometry || answer.version != FLOWFS_LAYOUT_VERSION || answer.flow != id) {
    return fail(EPROTO, "attach");
  }
  if (answer.overhead_bytes != 0 && (answer.overhead_bytes != auth::kRecordOverhead ||
                                     answer.overhead_bytes >= geometry->mtu_bytes)) {
    return fail(EPROTO, "attach");
  }
  made->geometry = *geometry;
  if (const Status introduced = introduce(made->tx_fd); !introduced) {
    return std::unexpected(introduced.error());
  }
  auto memory = map_memory(made->tx_fd, geometry->segment_bytes(), Mapping::Access::read_write,
                           mount, {.file = FLOWFS_MEMORY_TX, .object = id});
  if (!memory) {
    return std::unexpected(memory.error());
  }
  made->tx = std::move(*memory);
  auto slot = StatusMap::slot(mount, made->tx_fd, answer.uid, answer.status_slot);
  if (!slot) {
    return std::unexpected(slot.error());
  }
  made->slot = std::move(*slot);
  // tx was opened before it was attached: another process may have given its segment up in between.
  if (pool::check_segment(made->tx.bytes(), *geometry, id, pool::Generation{answer.generation}) !=
      pool::AttachOutcome::ok) {
    return fail(EAGAIN, "tx");
  }
  auto peer = made->map_peer();
  if (!peer) {
    return std::unexpected(peer.error());
  }
  made->first_peer = std::move(*peer);
  // The peer may have changed its mode since: the end of its lane can no longer be mapped.
  if (made->first_peer->generation != pool::Generation{answer.peer_generation}) {
    return fail(EAGAIN, "rx");
  }
  if (answer.overhead_bytes != 0) {  // last: it is given once
    auto sealed = take_key(made->folder + "/key");
    if (!sealed) {
      return std::unexpected(sealed.error());
    }
    made->sealed = std::move(*sealed);
  }
  return made;
}

Result<std::unique_ptr<Attachment>> Attachment::attach(const std::string& mount, std::uint64_t id,
                                                       int message) {
  for (int left = kTries; left > 0; --left) {
    auto made = try_attach(mount, id);
    if (made || made.error().error != EAGAIN) {
      return made;
    }
    pollfd room{.fd = message, .events = POLLOUT, .revents = 0};
    (void)::poll(&room, 1, kPatienceMs);  // whatever it says, the next try tells
  }
  return fail(EAGAIN, "attach");
}

}  // namespace flowfs::lib
