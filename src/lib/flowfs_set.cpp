// SPDX-License-Identifier: BSD-3-Clause
// The C ABI: sets of handles.
#include <poll.h>

#include <algorithm>
#include <array>

#include "lib/c_abi.hpp"
#include "lib/endpoint_set.hpp"

using flowfs::fail;
using flowfs::Result;
using flowfs::Status;
using flowfs::lib::EndpointSet;
using flowfs::lib::guarded;
using flowfs::lib::wait_of;

struct flowfs_set {
  EndpointSet set;
};

flowfs_set* flowfs_set_new(unsigned flags) {
  return guarded<flowfs_set*>(nullptr, [&]() -> Result<flowfs_set*> {
    if ((flags & ~(FLOWFS_SPIN_NEVER | FLOWFS_SPIN_ALWAYS)) != 0) {
      return fail(EINVAL, "flags");
    }
    return new flowfs_set{.set = EndpointSet(flowfs::lib::spin_policy(flags))};
  });
}

void flowfs_set_free(flowfs_set* set) {
  const int saved = errno;
  delete set;
  errno = saved;
}

int flowfs_set_add(flowfs_set* set, flowfs_handle* handle, unsigned events, void* data) {
  return guarded(-1, [&]() -> Status {
    if (events == 0 || (events & ~static_cast<unsigned>(POLLIN | POLLOUT)) != 0) {
      return fail(EINVAL, "events");
    }
    return set->set.add(*handle->end, handle, data, events);
  });
}

int flowfs_set_remove(flowfs_set* set, const flowfs_handle* handle) {
  return guarded(-1, [&] { return set->set.remove(*handle->end); });
}

int flowfs_set_wait(flowfs_set* set, struct flowfs_event* events, int most, int64_t timeout_us) {
  return guarded(-1, [&]() -> Result<std::size_t> {
    if (most <= 0) {
      return fail(EINVAL, "events");
    }
    std::array<EndpointSet::Event, 64> found;
    const auto room = std::min<std::size_t>(found.size(), static_cast<std::size_t>(most));
    const auto count = set->set.wait(std::span(found).first(room), wait_of(timeout_us));
    for (std::size_t i = 0; count && i < *count; ++i) {
      events[i] = {.handle = static_cast<flowfs_handle*>(found[i].handle),
                   .data = found[i].data,
                   .events = found[i].events};
    }
    return count;
  });
}
