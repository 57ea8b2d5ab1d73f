// SPDX-License-Identifier: BSD-3-Clause
// The C ABI: arguments checked, failures turned into errno, no exception let out.
#include "flowfs/flowfs.h"

#include <sys/socket.h>

#include <cstdlib>
#include <new>
#include <system_error>
#include <type_traits>

#include "lib/end.hpp"

using flowfs::fail;
using flowfs::Result;
using flowfs::lib::End;
using flowfs::lib::Role;
using flowfs::lib::Wait;

struct flowfs_handle {
  std::unique_ptr<End> end;
};

namespace {

constexpr unsigned kFlags = FLOWFS_FILE_MODE | FLOWFS_SPIN_NEVER | FLOWFS_SPIN_ALWAYS;
constexpr const char* kDefaultMount = "/run/flowfs";

Wait wait_of(std::int64_t timeout_us) {
  if (timeout_us == 0) {
    return {.blocks = false, .deadline = flowfs::Clock::now()};
  }
  return {.blocks = true,
          .deadline = timeout_us < 0
                          ? flowfs::kNever
                          : flowfs::later(flowfs::Clock::now(), flowfs::Micros(timeout_us))};
}

std::string mount_of(const char* mount) {
  if (mount != nullptr) {
    return mount;
  }
  const char* named = std::getenv("FLOWFS_MOUNT");  // NOLINT(concurrency-mt-unsafe)
  return named != nullptr && *named != '\0' ? named : kDefaultMount;
}

// Runs `body`, which returns a Result; its value (0 where it has none), or `failed` and errno.
template <typename T, typename Body>
T guarded(T failed, Body body) {
  try {
    auto result = body();
    if (result) {
      if constexpr (std::is_same_v<decltype(result), flowfs::Status>) {
        return T{};
      } else {
        return static_cast<T>(*result);
      }
    }
    errno = result.error().error;
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  } catch (const std::system_error& error) {
    errno = error.code().value();
  }
  return failed;
}

flowfs_handle* open_end(Role role, const char* mount, const char* name, unsigned flags,
                        std::int64_t timeout_us) {
  return guarded<flowfs_handle*>(nullptr, [&]() -> Result<flowfs_handle*> {
    const std::string_view given = name == nullptr ? "" : name;
    if ((flags & ~kFlags) != 0 || given.empty() || given == "." || given == ".." ||
        given.find('/') != std::string_view::npos) {
      return fail(EINVAL, "name or flags");
    }
    auto handle = std::make_unique<flowfs_handle>();
    auto end = End::open(role, mount_of(mount), std::string(given), flags, wait_of(timeout_us));
    if (!end) {
      return std::unexpected(end.error());
    }
    handle->end = std::move(*end);
    return handle.release();
  });
}

}  // namespace

flowfs_handle* flowfs_dial(const char* mount, const char* name, unsigned flags,
                           int64_t timeout_us) {
  return open_end(Role::client, mount, name, flags, timeout_us);
}

flowfs_handle* flowfs_accept(const char* mount, const char* name, unsigned flags,
                             int64_t timeout_us) {
  return open_end(Role::server, mount, name, flags, timeout_us);
}

void flowfs_close(flowfs_handle* handle) {
  const int saved = errno;
  delete handle;
  errno = saved;
}

int flowfs_send(flowfs_handle* handle, const void* message, size_t bytes, int64_t timeout_us) {
  return guarded(-1, [&] {
    return handle->end->send({static_cast<const std::byte*>(message), bytes}, wait_of(timeout_us));
  });
}

ssize_t flowfs_recv(flowfs_handle* handle, void* buffer, size_t bytes, int64_t timeout_us) {
  return guarded<ssize_t>(-1, [&] {
    return handle->end->receive({static_cast<std::byte*>(buffer), bytes}, wait_of(timeout_us));
  });
}

int flowfs_shutdown(flowfs_handle* handle, int how) {
  return guarded(-1, [&]() -> flowfs::Status {
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
  return guarded(-1, [&]() -> flowfs::Status {
    const auto found = handle->end->peer();
    if (!found) {
      return std::unexpected(found.error());
    }
    *peer = *found;
    return {};
  });
}
