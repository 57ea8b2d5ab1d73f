/* SPDX-License-Identifier: BSD-3-Clause
 *
 * libflowfs: the two ends of a flow as handles. Messages go through shared memory where the mount
 * can map it, and through read and write where it cannot; the calls are the same.
 *
 * Errors: calls that fail return -1 (dial and accept NULL) and set errno.
 *
 * Timeouts, in microseconds: 0 never waits (EAGAIN), negative waits for ever, otherwise the call
 * ends with ETIMEDOUT. A signal does not end a wait: what must end early has a timeout, or is ended
 * by flowfs_shutdown() of another thread.
 *
 * Threads: every call but flowfs_close() may be made from any thread. One thread sends while
 * another receives without disturbing it; two in the same direction take turns, and the timeout of
 * the later one begins with its turn (with timeout 0 it gets EAGAIN at once). flowfs_close() is for
 * when no other call on the handle is running.
 *
 * Fork: a handle belongs to the process that made it. In a child every call but flowfs_close()
 * fails with EBADF, and its copies of the descriptors are closed.
 */
#ifndef FLOWFS_FLOWFS_H
#define FLOWFS_FLOWFS_H

#include <flowfs/wire.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FLOWFS_API __attribute__((visibility("default")))

typedef struct flowfs_handle flowfs_handle;

/* In `flags`. */
#define FLOWFS_FILE_MODE 1u   /* do not map, only read and write */
#define FLOWFS_SPIN_NEVER 2u  /* sleep at once where there is nothing to do */
#define FLOWFS_SPIN_ALWAYS 4u /* do not sleep at all; the default is to spin while that pays */

#define FLOWFS_FOREVER INT64_C(-1)

/* The client end of a new flow to names/NAME below `mount`, or the server end of the next flow that
 * comes there. `mount` NULL: $FLOWFS_MOUNT, else /run/flowfs. With timeout 0 the handle may be
 * returned before there is a peer; sending and receiving then give EAGAIN until there is one, or
 * the reason why there will be none.
 *
 * Errors: EINVAL no such flag or name; ENOENT; EACCES; ECONNREFUSED; ETIMEDOUT, also when the
 * name's dial_timeout is the shorter one; EAGAIN the backlog is full; EDQUOT; ENFILE; EMFILE;
 * ENOMEM. */
FLOWFS_API flowfs_handle* flowfs_dial(const char* mount, const char* name, unsigned flags,
                                      int64_t timeout_us);
FLOWFS_API flowfs_handle* flowfs_accept(const char* mount, const char* name, unsigned flags,
                                        int64_t timeout_us);

/* What was sent is delivered. NULL is ignored. Never fails. */
FLOWFS_API void flowfs_close(flowfs_handle* handle);

/* One message of 1 to mtu bytes. 0, or -1 with EINVAL it is empty; EMSGSIZE it is longer than the
 * mtu; EAGAIN; ETIMEDOUT; EPIPE the peer reads no more or this end has shut down; EPROTO the peer
 * has broken the rules of the shared memory. */
FLOWFS_API int flowfs_send(flowfs_handle* handle, const void* message, size_t bytes,
                           int64_t timeout_us);

/* The next message: its length, 0 at the end of the flow, or -1 with EMSGSIZE it is longer than
 * `bytes` and is kept for a call with more; EAGAIN; ETIMEDOUT; EPROTO. */
FLOWFS_API ssize_t flowfs_recv(flowfs_handle* handle, void* buffer, size_t bytes,
                               int64_t timeout_us);

/* SHUT_RD, SHUT_WR or SHUT_RDWR. Ends the waits of other threads in that direction. */
FLOWFS_API int flowfs_shutdown(flowfs_handle* handle, int how);

/* For poll and epoll, nothing else; it belongs to the handle. Level-triggered: POLLIN there is a
 * message or the end of the flow, POLLOUT there is room for a message of any length. A wait is only
 * sure to end after the call that it stands for has given EAGAIN. */
FLOWFS_API int flowfs_fd(flowfs_handle* handle);

/* The end's number under flows/. 0 in a forked child. */
FLOWFS_API uint64_t flowfs_id(const flowfs_handle* handle);

/* 1: through shared memory; 0: through read and write, or not up yet. */
FLOWFS_API int flowfs_is_mapped(const flowfs_handle* handle);

/* FLOWFS_STATE_* of wire.h. ENOENT: the end has gone. */
FLOWFS_API int flowfs_state(flowfs_handle* handle);

struct flowfs_peer {
  uint64_t flow;
  uid_t uid;
  gid_t gid;
  pid_t pid; /* as the kernel told when the peer opened its end: for information */
};

/* ENOTCONN: there is none yet. */
FLOWFS_API int flowfs_get_peer(flowfs_handle* handle, struct flowfs_peer* peer);

#ifdef __cplusplus
}
#endif
#endif
