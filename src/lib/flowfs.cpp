// SPDX-License-Identifier: BSD-3-Clause
// The C ABI: opening, whole messages, what an end says of itself.
#include <sys/socket.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "lib/bus_member.hpp"
#include "lib/c_abi.hpp"
#include "lib/flow_end.hpp"

using flowfs::fail;
using flowfs::Result;
using flowfs::Status;
using flowfs::lib::BusMember;
using flowfs::lib::End;
using flowfs::lib::FlowEnd;
using flowfs::lib::guarded;
using flowfs::lib::Pieces;
using flowfs::lib::Role;
using flowfs::lib::wait_of;

namespace {

constexpr unsigned kBusFlags = FLOWFS_FILE_MODE | FLOWFS_SPIN_NEVER | FLOWFS_SPIN_ALWAYS |
                               FLOWFS_RECEIVE_ONLY | FLOWFS_SEND_ONLY;
constexpr unsigned kFlowFlags = kBusFlags | FLOWFS_NO_POOL;
constexpr unsigned kBothOnly = FLOWFS_RECEIVE_ONLY | FLOWFS_SEND_ONLY;
constexpr const char* kDefaultMount = "/run/flowfs";

std::string mount_of(const char* mount) {
  if (mount != nullptr) {
    return mount;
  }
  const char* named = std::getenv("FLOWFS_MOUNT");  // NOLINT(concurrency-mt-unsafe)
  return named != nullptr && *named != '\0' ? named : kDefaultMount;
}

bool are_known(unsigned flags, unsigned known) {
  return (flags & ~known) == 0 && (flags & kBothOnly) != kBothOnly;
}

// A handle for what `open(mount, name)` makes: an end of names/NAME or buses/NAME.
template <typename Open>
flowfs_handle* open_handle(const char* mount, const char* name, bool flags_are_known, Open open) {
  return guarded<flowfs_handle*>(nullptr, [&]() -> Result<flowfs_handle*> {
    const std::string_view given = name == nullptr ? "" : name;
    if (!flags_are_known || given.empty() || given == "." || given == ".." ||
        given.find('/') != std::string_view::npos) {
      return fail(EINVAL, "name or flags");
    }
    auto handle = std::make_unique<flowfs_handle>();
    Result<std::unique_ptr<End>> end = open(mount_of(mount), std::string(given));
    if (!end) {
      return std::unexpected(end.error());
    }
    handle->end = std::move(*end);
    return handle.release();
  });
}

flowfs_handle* open_flow(Role role, const char* mount, const char* name, unsigned flags,
                         std::int64_t timeout_us) {
  return open_handle(mount, name, are_known(flags, kFlowFlags),
                     [&](const std::string& tree, const std::string& given) {
                       return FlowEnd::open(role, tree, given, flags, wait_of(timeout_us));
                     });
}

}  // namespace

flowfs_handle* flowfs_dial(const char* mount, const char* name, unsigned flags,
                           int64_t timeout_us) {
  return open_flow(Role::client, mount, name, flags, timeout_us);
}

flowfs_handle* flowfs_accept(const char* mount, const char* name, unsigned flags,
                             int64_t timeout_us) {
  return open_flow(Role::server, mount, name, flags, timeout_us);
}

flowfs_handle* flowfs_join(const char* mount, const char* bus, unsigned flags) {
  return open_handle(mount, bus, are_known(flags, kBusFlags),
                     [&](const std::string& tree, const std::string& given) {
                       return BusMember::join(tree, given, flags);
                     });
}

void flowfs_close(flowfs_handle* handle) {
  const int saved = errno;
  delete handle;
  errno = saved;
}

ssize_t flowfs_skip(flowfs_handle* handle) {
  return guarded<ssize_t>(-1, [&] { return handle->end->skip(); });
}

int flowfs_send(flowfs_handle* handle, const void* message, size_t bytes, int64_t timeout_us) {
  return guarded(-1, [&] {
    return handle->end->send({static_cast<const std::byte*>(message), bytes}, wait_of(timeout_us));
  });
}

ssize_t flowfs_recv(flowfs_handle* handle, void* buffer, size_t bytes, int64_t timeout_us) {
  const iovec piece{.iov_base = buffer, .iov_len = bytes};
  return guarded<ssize_t>(
      -1, [&] { return handle->end->receive(Pieces(&piece, 1), wait_of(timeout_us)); });
}

int flowfs_sendv(flowfs_handle* handle, const struct iovec* pieces, int count, int64_t timeout_us) {
  return guarded(-1, [&]() -> Status {
    if (count < 0) {
      return fail(EINVAL, "pieces");
    }
    return handle->end->send(Pieces(pieces, static_cast<std::size_t>(count)), wait_of(timeout_us));
  });
}

ssize_t flowfs_recvv(flowfs_handle* handle, const struct iovec* pieces, int count,
                     int64_t timeout_us) {
  return guarded<ssize_t>(-1, [&]() -> Result<std::size_t> {
    if (count < 0) {
      return fail(EINVAL, "pieces");
    }
    const Pieces into(pieces, static_cast<std::size_t>(count));
    return handle->end->receive(into, wait_of(timeout_us));
  });
}

ssize_t flowfs_send_many(flowfs_handle* handle, const struct iovec* messages, int count,
                         int64_t timeout_us) {
  return guarded<ssize_t>(-1, [&]() -> Result<std::size_t> {
    if (count <= 0) {
      return fail(EINVAL, "messages");
    }
    const Pieces all(messages, static_cast<std::size_t>(count));
    return handle->end->send_many(all, wait_of(timeout_us));
  });
}

ssize_t flowfs_recv_many(flowfs_handle* handle, struct iovec* messages, int count,
                         int64_t timeout_us) {
  return guarded<ssize_t>(-1, [&]() -> Result<std::size_t> {
    if (count <= 0) {
      return fail(EINVAL, "messages");
    }
    const std::span<iovec> all(messages, static_cast<std::size_t>(count));
    return handle->end->receive_many(all, wait_of(timeout_us));
  });
}

int flowfs_shutdown(flowfs_handle* handle, int how) {
  return guarded(-1, [&]() -> Status {
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) {
      return fail(EINVAL, "how");
    }
    return handle->end->shut_down(how != SHUT_WR, how != SHUT_RD);
  });
}

int flowfs_fd(flowfs_handle* handle) {
  return guarded(-1, [&] { return handle->end->descriptor(); });
}

uint64_t flowfs_id(const flowfs_handle* handle) { return handle->end->id(); }

int flowfs_is_mapped(const flowfs_handle* handle) { return handle->end->is_mapped() ? 1 : 0; }

int flowfs_state(flowfs_handle* handle) {
  return guarded(-1, [&] { return handle->end->state(); });
}

int flowfs_get_peer(flowfs_handle* handle, struct flowfs_peer* peer) {
  return guarded(-1, [&]() -> Status {
    const auto found = handle->end->peer();
    if (!found) {
      return std::unexpected(found.error());
    }
    *peer = *found;
    return {};
  });
}
