// SPDX-License-Identifier: BSD-3-Clause
// The C ABI: messages written and read where they lie.
#include "lib/c_abi.hpp"

using flowfs::fail;
using flowfs::Result;
using flowfs::Status;
using flowfs::lib::guarded;
using flowfs::lib::wait_of;

namespace {

// Whether the space of a commit that failed so is still there.
bool keeps_space(int error) {
  return error == EINVAL || error == EAGAIN || error == ETIMEDOUT || error == EBUSY;
}

}  // namespace

int flowfs_loan(flowfs_handle* handle, size_t bytes, int64_t timeout_us,
                struct flowfs_space* space) {
  return guarded(-1, [&]() -> Status {
    const auto lent = handle->end->loan(bytes, wait_of(timeout_us));
    if (!lent) {
      return std::unexpected(lent.error());
    }
    *space = {
        .data = lent->bytes.data(), .bytes = lent->bytes.size(), .handle = handle, .id = lent->id};
    return {};
  });
}

int flowfs_commit(struct flowfs_space* space, size_t bytes, int64_t timeout_us) {
  return guarded(-1, [&]() -> Status {
    if (space->handle == nullptr) {
      return fail(EINVAL, "no such loan");
    }
    const Status sent = space->handle->end->commit(space->id, bytes, wait_of(timeout_us));
    if (sent || !keeps_space(sent.error().error)) {
      *space = {};
    }
    return sent;
  });
}

void flowfs_loan_cancel(struct flowfs_space* space) {
  if (space == nullptr || space->handle == nullptr) {
    return;
  }
  const int saved = errno;
  guarded(-1, [&] { return space->handle->end->cancel(space->id); });
  *space = {};
  errno = saved;
}

ssize_t flowfs_borrow(flowfs_handle* handle, int64_t timeout_us, struct flowfs_view* view) {
  return guarded<ssize_t>(-1, [&]() -> Result<std::size_t> {
    *view = {};
    const auto found = handle->end->borrow(wait_of(timeout_us));
    if (!found) {
      return std::unexpected(found.error());
    }
    if (!found->bytes.empty()) {
      *view = {.data = found->bytes.data(),
               .bytes = found->bytes.size(),
               .handle = handle,
               .id = found->id};
    }
    return found->bytes.size();
  });
}

int flowfs_release(struct flowfs_view* view) {
  if (view == nullptr || view->handle == nullptr) {
    return 0;
  }
  const int saved = errno;
  const int released = guarded(-1, [&] { return view->handle->end->release(view->id); });
  *view = {};
  // Anything else says that it is over already: closed, or the parent's.
  if (released != 0 && errno == ESTALE) {
    return -1;
  }
  errno = saved;
  return 0;
}

int flowfs_forward(flowfs_handle* handle, struct flowfs_view* view, int64_t timeout_us) {
  return guarded(-1, [&]() -> Status {
    if (view->handle == nullptr) {
      return fail(EINVAL, "not borrowed");
    }
    const Status sent = handle->end->forward(*view->handle->end, view->id, wait_of(timeout_us));
    if (sent) {
      *view = {};
    }
    return sent;
  });
}

void flowfs_block_least(flowfs_handle* handle, size_t bytes) {
  handle->end->set_block_least(bytes);
}

uint64_t flowfs_shared_pool(const flowfs_handle* handle) { return handle->end->pool(); }
