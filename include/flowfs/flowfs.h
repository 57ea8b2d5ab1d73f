/* SPDX-License-Identifier: BSD-3-Clause
 *
 * libflowfs: the two ends of a flow, and the members of a bus, as handles. Messages go through
 * shared memory where the mount can map it, and through read and write where it cannot; the calls
 * are the same.
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
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FLOWFS_API __attribute__((visibility("default")))

typedef struct flowfs_handle flowfs_handle;

/* In `flags`. */
#define FLOWFS_FILE_MODE 1u   /* do not map, only read and write */
#define FLOWFS_SPIN_NEVER 2u  /* sleep at once where there is nothing to do */
#define FLOWFS_SPIN_ALWAYS 4u /* do not sleep at all; the default is to spin while that pays */
#define FLOWFS_NO_POOL 8u     /* do not join a pool: messages go through the flow's own memory */
/* One direction of the two; calls in the other fail with EBADF. */
#define FLOWFS_RECEIVE_ONLY 16u
#define FLOWFS_SEND_ONLY 32u

#define FLOWFS_FOREVER INT64_C(-1)

/* The client end of a new flow to names/NAME below `mount`, or the server end of the next flow that
 * comes there. `mount` NULL: $FLOWFS_MOUNT, else /run/flowfs. With timeout 0 the handle may be
 * returned before there is a peer; sending and receiving then give EAGAIN until there is one, or
 * the reason why there will be none. Where the mode of `dial` or `accept` lets the caller read or
 * write alone, and neither was asked for, the end receives only or sends only.
 *
 * Errors: EINVAL no such flag or name, or both _ONLY; ENOENT; EACCES; ECONNREFUSED; ETIMEDOUT, also
 * when the name's dial_timeout is the shorter one; EAGAIN the backlog is full; EDQUOT; ENFILE;
 * EMFILE; ENOMEM. */
FLOWFS_API flowfs_handle* flowfs_dial(const char* mount, const char* name, unsigned flags,
                                      int64_t timeout_us);
FLOWFS_API flowfs_handle* flowfs_accept(const char* mount, const char* name, unsigned flags,
                                        int64_t timeout_us);

/* A new member of buses/BUS below `mount`, which receives what other members send from now on,
 * after the bus's `history`, and sends to all of them; or one of the two alone. It does not wait,
 * nor receive what it sends itself. All calls mean for it what they mean for a flow, where nothing
 * else is said:
 *
 *   sending    EAGAIN, or a wait, on a lossless bus; on a lossy one only while the daemon has still
 *              to take what this member sent before. EPIPE only once this member has shut down
 *   receiving  the end only once this member has shut down. What a lossy bus has dropped for it is
 *              not told: port/ID/stats of the bus counts it
 *   both       ECONNABORTED the member was cut off by a lossless bus that it had blocked too long,
 *              or for breaking the rules of the shared memory
 *   shutdown   receiving: what is unread is dropped, and nobody waits for this member; what is
 *              borrowed is no longer to be believed. Sending: what was sent before still is, and
 *              then this member is none of the `writers`. Without any direction left it has left
 *              the bus, though its handle stays
 *   none       flowfs_get_peer(): EOPNOTSUPP. There are no pools
 *
 * flowfs_id() is the member's port.
 *
 * Threads: any. Errors: EINVAL no such flag or name, or both _ONLY; ENOENT; EACCES; EADDRNOTAVAIL
 * `ports` members are there; EBUSY `writers` may send already; EDQUOT; ENFILE; EMFILE; ENOMEM. */
FLOWFS_API flowfs_handle* flowfs_join(const char* mount, const char* bus, unsigned flags);

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

/* Of a member of a bus: passes over all that is unread but the newest message, which the next call
 * receives. How many, or -1 with EAGAIN another thread receives now; ECONNABORTED; EOPNOTSUPP not a
 * bus, or a daemon that knows no better. */
FLOWFS_API ssize_t flowfs_skip(flowfs_handle* handle);

/* The same with a message in pieces. */
FLOWFS_API int flowfs_sendv(flowfs_handle* handle, const struct iovec* pieces, int count,
                            int64_t timeout_us);
FLOWFS_API ssize_t flowfs_recvv(flowfs_handle* handle, const struct iovec* pieces, int count,
                                int64_t timeout_us);

/* Several messages, one in each iovec, for the price of little more than one. They wait only before
 * the first: the answer is how many were sent or received, 0 at the end of the flow. An error is
 * only told when it concerns the first. recv_many sets each iov_len to the message's. */
FLOWFS_API ssize_t flowfs_send_many(flowfs_handle* handle, const struct iovec* messages, int count,
                                    int64_t timeout_us);
FLOWFS_API ssize_t flowfs_recv_many(flowfs_handle* handle, struct iovec* messages, int count,
                                    int64_t timeout_us);

/* ---- without copies
 * ---------------------------------------------------------------------------------------------
 *
 * A message may be written where it is sent from and read where it lies: in the memory of the flow,
 * or in a block of the pool that both ends share. On a handle in file mode the same calls lend and
 * borrow buffers of the process.
 *
 * Owns: a space or view belongs to its handle and ends with flowfs_close(). Use it from one thread
 * at a time; its calls take turns with the others on the handle as flowfs_send() and flowfs_recv()
 * do. Peer death: what is lent and not committed is never seen by the peer.
 */

/* Space for one message; zeroed when it is over. */
struct flowfs_space {
  void* data;
  size_t bytes;
  flowfs_handle* handle;
  uint64_t id;
};

/* A message where it lies, not to be written to; zeroed when it is over. */
struct flowfs_view {
  const void* data;
  size_t bytes;
  flowfs_handle* handle;
  uint64_t id;
};

/* Space for a message of up to `bytes`. 0, or -1 with the errors of flowfs_send(), EMSGSIZE for
 * more than the mtu among them; EBUSY. There is one space in the flow's own memory, or in file mode
 * in this process, at a time, and until it is committed or cancelled nothing else is sent on the
 * handle: EBUSY. Of spaces in blocks there may be many. */
FLOWFS_API int flowfs_loan(flowfs_handle* handle, size_t bytes, int64_t timeout_us,
                           struct flowfs_space* space);
/* Sends the first `bytes` of it, at least one. 0, or -1 with EINVAL, EAGAIN, ETIMEDOUT or EBUSY,
 * after which the space is still there, or with another error of flowfs_send(), after which it is
 * not. */
FLOWFS_API int flowfs_commit(struct flowfs_space* space, size_t bytes, int64_t timeout_us);
/* Gives it back unsent. NULL and what is over are ignored. */
FLOWFS_API void flowfs_loan_cancel(struct flowfs_space* space);

/* The next message: its length, 0 at the end of the flow, or -1 as flowfs_recv(). Several may be
 * borrowed at once; they hold the peer's room, or its pool's blocks. EBUSY: the peer has begun
 * anew, as a file perhaps, and what is borrowed from before must be released first.
 * A peer that breaks the rules may still write into the message: what must not change is copied
 * before it is looked at. */
FLOWFS_API ssize_t flowfs_borrow(flowfs_handle* handle, int64_t timeout_us,
                                 struct flowfs_view* view);
/* In any order. NULL and what is over are ignored. 0; or -1 with ESTALE: it was borrowed from a
 * lossy bus, whose senders may have written over it in the meantime, or before this member shut
 * down receiving, so that what was read of it is not to be believed. It is released all the same.
 */
FLOWFS_API int flowfs_release(struct flowfs_view* view);
/* Sends it on through `handle`, which may be the one that it came from, and releases it: the same
 * block where there is one and that peer shares the pool too. Errors as flowfs_send(), after which
 * it is still borrowed. */
FLOWFS_API int flowfs_forward(flowfs_handle* handle, struct flowfs_view* view, int64_t timeout_us);

/* Loans of so many bytes and more take a block; SIZE_MAX: none does; 0, the default: those do that
 * would not lie in the hot ring. */
FLOWFS_API void flowfs_block_least(flowfs_handle* handle, size_t bytes);
/* Serial of the pool that this end and its peer share now; 0: none. */
FLOWFS_API uint64_t flowfs_shared_pool(const flowfs_handle* handle);

/* ---- many at once
 * --------------------------------------------------------------------------------------------- */

/* Handles that are waited on together, without a descriptor each while all of them are mapped and
 * there are no more than 128 directions to wait for.
 *
 * Threads: one at a time for each set. While one waits, the messages of its handles are left to it:
 * what another thread takes away meanwhile is not told. A handle is removed before it is closed. */
typedef struct flowfs_set flowfs_set;

struct flowfs_event {
  flowfs_handle* handle;
  void* data;      /* as given with it */
  uint32_t events; /* POLLIN, POLLOUT: the call would not wait */
};

/* `flags`: FLOWFS_SPIN_*. NULL: ENOMEM, EINVAL. */
FLOWFS_API flowfs_set* flowfs_set_new(unsigned flags);
/* Its handles stay open. NULL is ignored. */
FLOWFS_API void flowfs_set_free(flowfs_set* set);
/* POLLIN, POLLOUT or both. EEXIST: it is in the set; EINVAL. */
FLOWFS_API int flowfs_set_add(flowfs_set* set, flowfs_handle* handle, unsigned events, void* data);
/* ENOENT: it is not. */
FLOWFS_API int flowfs_set_remove(flowfs_set* set, const flowfs_handle* handle);
/* How many of `events` were filled in, at least one, or -1 with EINVAL, EAGAIN, ETIMEDOUT, or what
 * epoll says. A handle that is still pending is ready once that is over. */
FLOWFS_API int flowfs_set_wait(flowfs_set* set, struct flowfs_event* events, int most,
                               int64_t timeout_us);

/* ---- about the end
 * --------------------------------------------------------------------------------------------- */

/* SHUT_RD, SHUT_WR or SHUT_RDWR. Ends the waits of other threads in that direction. */
FLOWFS_API int flowfs_shutdown(flowfs_handle* handle, int how);

/* For poll and epoll, nothing else; it belongs to the handle. Level-triggered: POLLIN there is a
 * message or the end of the flow, POLLOUT there is room for a message of any length. A wait is only
 * sure to end after the call that it stands for has given EAGAIN. */
FLOWFS_API int flowfs_fd(flowfs_handle* handle);

/* The end's number under flows/, or the member's port of its bus. 0 in a forked child. */
FLOWFS_API uint64_t flowfs_id(const flowfs_handle* handle);

/* 1: through shared memory; 0: through read and write, or not up yet. */
FLOWFS_API int flowfs_is_mapped(const flowfs_handle* handle);

/* FLOWFS_STATE_* of wire.h. ENOTCONN: the daemon has gone. A member of a bus is ALLOCATED, or
 * DEALLOCATED once it has been cut off, or has shut down both directions. */
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
