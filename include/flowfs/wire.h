/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every layout and ioctl that flowfs shares with other programs: the segment of an end and the lane
 * in it, the status slot, the ioctls of message and mapped files. docs/dataplane.md explains the
 * protocol that runs over them.
 *
 * Plain C11 and C++17. Fixed-width types, the machine's own byte order, offsets from the beginning
 * of the segment instead of pointers. Words that two processes use at once are atomics in both
 * languages whatever their type here: __atomic_* in C, std::atomic_ref in C++.
 *
 * Each page has one writer. A segment is written by the end that owns it (by the daemon on its
 * behalf while the end is in file mode) and mapped read-only by its peer; a status slot is written
 * by the daemon alone. Everything a peer writes may be a lie: read each word once, check the copy,
 * use the copy. Geometry comes from struct flowfs_attach, not from the peer's header.
 */
#ifndef FLOWFS_WIRE_H
#define FLOWFS_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#ifdef __cplusplus
#define FLOWFS_STATIC_ASSERT(condition) static_assert(condition, #condition)
#else
#define FLOWFS_STATIC_ASSERT(condition) _Static_assert(condition, #condition)
#endif

/* Changes whenever a layout or the meaning of a word below does; checked at attach. */
#define FLOWFS_LAYOUT_VERSION UINT32_C(3)

/* "flowseg\0", "flowsts\0", "flowpol\0" and "flowlog\0", little-endian. */
#define FLOWFS_SEGMENT_MAGIC UINT64_C(0x00676573776f6c66)
#define FLOWFS_STATUS_MAGIC UINT64_C(0x00737473776f6c66)
#define FLOWFS_POOL_MAGIC UINT64_C(0x006c6f70776f6c66)
#define FLOWFS_LOG_MAGIC UINT64_C(0x00676f6c776f6c66)

/* ---- the lane
 * ------------------------------------------------------------------------------------
 *
 * A position is the number of bytes ever laid into a ring, padding included; its place is
 * position % ring bytes. Positions of a new segment begin at 0.
 */

struct flowfs_position {
  uint64_t hot;      /* of the next record */
  uint64_t bulk;     /* of the next bulk message, before its padding */
  uint64_t sequence; /* of the next record, or FLOWFS_SEQUENCE_ANY */
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_position) == 24);

/* Nobody knows: the next record's number is taken as it is found, those after it must follow. */
#define FLOWFS_SEQUENCE_ANY UINT64_MAX

/* A record begins at a multiple of FLOWFS_RECORD_ALIGN of the hot ring and is never split by its
 * end. */
#define FLOWFS_RECORD_ALIGN 16u

struct flowfs_record {
  uint32_t commit; /* atomic: 0, or the length of the payload + 1, or padding. Publishes the rest */
  uint16_t flags;  /* FLOWFS_RECORD_*; any other bit is corrupt */
  uint16_t origin; /* the sending port on a bus; 0 on a flow */
  uint64_t sequence; /* one more than that of the record before it; 0 first in a segment */
                     /* the payload follows */
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_record) == 16);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_record, flags) == 4);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_record, origin) == 6);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_record, sequence) == 8);

/* In `commit`: the rest of the ring is empty, the next record is at its beginning. The other bits
 * are the bytes skipped after this header, + 1. Never at the beginning itself. Takes no sequence
 * number. */
#define FLOWFS_COMMIT_PADDING UINT32_C(0x80000000)

/* The payload is a struct flowfs_bulk. */
#define FLOWFS_RECORD_BULK UINT16_C(0x0001)

/* A message longer than the segment's inline_bytes lies in the bulk ring, in one piece. */
#define FLOWFS_BULK_ALIGN 64u

struct flowfs_bulk {
  uint64_t position; /* where it begins: a multiple of FLOWFS_BULK_ALIGN */
  uint32_t length;   /* more than inline_bytes, at most the mtu */
  uint32_t reserved; /* 0 */
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_bulk) == 16);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_bulk, length) == 8);

/* The payload is a struct flowfs_block: the message lies in a block of the pool that both ends have
 * joined (flowfs_status.pool). */
#define FLOWFS_RECORD_BLOCK UINT16_C(0x0002)

struct flowfs_block {
  uint64_t pool; /* its serial */
  uint32_t block;
  uint32_t generation; /* of the owner word while the block is in flight */
  uint32_t offset;     /* where the message begins in the block */
  uint32_t length;     /* of the message: 1 to the mtu, and within the block */
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_block) == 24);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_block, block) == 8);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_block, generation) == 12);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_block, offset) == 16);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_block, length) == 20);

/* ---- the segment
 * ---------------------------------------------------------------------------------
 *
 * header page | hot ring | bulk ring (sparse). The groups below are 128 bytes apart so that a word
 * one side writes and a word the other side writes are never fetched together.
 */

#define FLOWFS_SEGMENT_HEADER_BYTES 4096u
#define FLOWFS_HOT_RING_DEFAULT_BYTES 28672u

/* What the owner has read of the peer's lane. `generation` names the peer's segment that the other
 * two are about; it is stored after them, and they mean nothing where it is not the writer's own.
 */
struct flowfs_cursors {
  uint64_t generation; /* atomic */
  uint64_t hot;        /* atomic */
  uint64_t bulk;       /* atomic */
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_cursors) == 24);

/* What the owner has done in one direction, for flows/ID/stats: only ever as true as the owner. */
struct flowfs_counters {
  uint64_t copies;  /* of payloads, between a commit and the receiver's view: its own */
  uint64_t waits;   /* times it went to sleep */
  uint64_t wakeups; /* of its peer */
  uint64_t drops;   /* records of blocks that were no longer to be had */
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_counters) == 32);

/* What a mapped member of a bus has done with one log of it: only ever as true as the member. */
struct flowfs_log_tally {
  uint64_t lost;  /* messages that were overtaken before it read them, or that it skipped */
  uint64_t bytes; /* of the messages that it has read */
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_log_tally) == 16);

/* In `shutdown`. Set by the owner, never cleared. */
#define FLOWFS_SHUT_SEND UINT32_C(1)    /* nothing follows what is committed */
#define FLOWFS_SHUT_RECEIVE UINT32_C(2) /* nothing more will be read */

struct flowfs_segment {
  /* Constants, laid down by the daemon before anybody can map the segment; magic last. */
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint64_t generation; /* of this segment; counts the segments of an end, from 1 */
  uint64_t flow;       /* the end that owns it, as in flows/ID */
  uint64_t bulk_offset;
  uint64_t bulk_bytes;
  uint32_t hot_offset;
  uint32_t hot_bytes;
  uint32_t inline_bytes; /* longest payload of a record */
  uint32_t mtu_bytes;
  uint8_t reserved0[64];

  /* A futex. The owner adds one and wakes when its peer sleeps; its value means nothing. The daemon
   * does so too once the owner has lost the segment: the only word with two writers. */
  uint32_t bell;
  uint8_t reserved1[124];

  /* Odd: the owner is asleep, until the peer commits data, or until the peer publishes cursors. */
  uint32_t sleep_data;
  uint32_t sleep_room;
  uint32_t shutdown; /* FLOWFS_SHUT_* */
  uint8_t reserved2[116];

  struct flowfs_cursors cursors;
  uint8_t reserved3[104];

  /* Each written by the one thread that sends, or receives. */
  struct flowfs_counters sending;
  uint8_t reserved4[96];
  struct flowfs_counters receiving;
  /* With the log of its cursors, and with the one before. Stored before the cursors. */
  struct flowfs_log_tally present_log;
  struct flowfs_log_tally former_log;
  uint8_t reserved5[3392];
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_segment) == FLOWFS_SEGMENT_HEADER_BYTES);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, version) == 8);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, header_bytes) == 12);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, generation) == 16);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, flow) == 24);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, bulk_offset) == 32);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, bulk_bytes) == 40);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, hot_offset) == 48);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, hot_bytes) == 52);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, inline_bytes) == 56);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, mtu_bytes) == 60);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, bell) == 128);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, sleep_data) == 256);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, sleep_room) == 260);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, shutdown) == 264);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, cursors) == 384);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, sending) == 512);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, receiving) == 640);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, present_log) == 672);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_segment, former_log) == 688);

/* ---- the status slot
 * -----------------------------------------------------------------------------
 *
 * users/UID/status, read-only, holds a slot for each end of that uid which can be mapped. Slot 0 is
 * the file's header. The truth about an end is here and nowhere else.
 */

/* As flows/ID/state. */
#define FLOWFS_STATE_NONE UINT32_C(0)
#define FLOWFS_STATE_ALLOC_PENDING UINT32_C(1)
#define FLOWFS_STATE_ACCEPT_PENDING UINT32_C(2)
#define FLOWFS_STATE_ALLOCATED UINT32_C(3)
#define FLOWFS_STATE_DEALLOC_PENDING UINT32_C(4)
#define FLOWFS_STATE_DEALLOCATED UINT32_C(5)

/* In `flags`. */
#define FLOWFS_STATUS_PEER_DEAF UINT32_C(1) /* the peer reads no more: sending is EPIPE */
#define FLOWFS_STATUS_CORRUPT UINT32_C(2)   /* the flow is poisoned: EPROTO */
#define FLOWFS_STATUS_MUTE UINT32_C(4)      /* this end may send no more (ctl, or opened to read) */

/* In `closed_at` and `retired_at`: the lane has no end yet. */
#define FLOWFS_LANE_OPEN UINT64_MAX

/* Read `peer_generation` (acquire). While it is that of the segment you read, the lane ends at
 * `closed_at`; read `peer_generation` once more to believe it. One later: your lane ends at
 * `retired_at`; read up to there, then map rx again and go on at position 0. */
struct flowfs_status {
  uint64_t flow;            /* whose slot it is; another id or 0: that end is gone */
  uint32_t state;           /* FLOWFS_STATE_* of this end */
  uint32_t peer_state;      /* and of its peer */
  uint64_t peer_generation; /* of the segment that rx opens now */
  uint64_t closed_at;       /* hot position where that segment's lane ends */
  uint64_t retired_at;      /* and where the one before it ended */
  uint64_t peer_flow;
  uint32_t peer_uid;
  uint32_t peer_gid;
  uint32_t peer_pid; /* for information */
  uint32_t flags;    /* FLOWFS_STATUS_* */
  uint64_t pool;     /* serial of the pool that both ends have joined; 0: none */

  /* Of a mapped member of a bus, whose `flow` has FLOWFS_STATUS_MEMBER set and whose "peer" is the
   * bus: peer_generation, closed_at and retired_at speak of the log. The rest is what a peer would
   * say in its segment. */
  struct flowfs_cursors taken; /* of the member's lane, by the bus */
  uint32_t bell;               /* a futex: rung for a member that waits for room in its lane */
  uint32_t sleep_data;         /* odd: the bus waits for records of the member */
  uint32_t sleep_room;         /* odd: the bus waits for the member to read */
  uint32_t reserved0;
  uint64_t refused; /* messages taken from the lane that no log could be given */
  uint64_t reserved1;
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_status) == 128);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, state) == 8);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, peer_state) == 12);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, peer_generation) == 16);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, closed_at) == 24);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, retired_at) == 32);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, peer_flow) == 40);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, peer_uid) == 48);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, peer_gid) == 52);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, peer_pid) == 56);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, flags) == 60);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, pool) == 64);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, taken) == 72);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, bell) == 96);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, sleep_data) == 100);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, sleep_room) == 104);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_status, refused) == 112);

/* In `flow`: the number is that of a member of a bus (struct flowfs_bus_attach). */
#define FLOWFS_STATUS_MEMBER (UINT64_C(1) << 63)

struct flowfs_status_header {
  uint64_t magic;
  uint32_t version;
  uint32_t slot_bytes;
  uint32_t slots; /* that the file has room for, this one included */
  uint32_t uid;
  uint8_t reserved[104];
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_status_header) == sizeof(struct flowfs_status));

/* ---- the log of a bus
 * ----------------------------------------------------------------------------
 *
 * buses/BUS/log, read-only: header page | ring, as long as the rest of the file. Written by the
 * daemon; or by the only sender of a bus (FLOWFS_BUS_DIRECT), whose tx it is then. A position is
 * the number of bytes ever laid into the ring; its place is position % ring bytes.
 */

#define FLOWFS_LOG_HEADER_BYTES 4096u

struct flowfs_log {
  /* Constants, laid down by the daemon; magic last. */
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint64_t generation; /* counts the logs of a bus, from 1 */
  uint64_t ring_bytes;
  uint64_t first; /* where readers of the log before it go on in this one */
  uint8_t reserved0[88];

  /* A futex. The writer adds one and wakes all after each batch; its value means nothing. The
   * daemon does so too for a writer that is gone. */
  uint32_t bell;
  uint8_t reserved1[124];

  uint64_t floor;      /* atomic: what lies before it may be overwritten at any time */
  uint64_t tail;       /* atomic: everything before it is there */
  uint64_t last;       /* atomic: where the last record begins */
  uint64_t sent_bytes; /* atomic: of all messages before the tail; only as true as the writer */
  uint8_t reserved2[3808];
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_log) == FLOWFS_LOG_HEADER_BYTES);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log, version) == 8);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log, header_bytes) == 12);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log, generation) == 16);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log, ring_bytes) == 24);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log, first) == 32);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log, bell) == 128);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log, floor) == 256);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log, tail) == 264);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log, last) == 272);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log, sent_bytes) == 280);

/* At a multiple of FLOWFS_RECORD_ALIGN, never split by the end of the ring. Written and read as two
 * words of 8 bytes, its payload likewise: release and acquire. */
struct flowfs_log_record {
  uint32_t length;   /* of the payload, which follows; or padding */
  uint32_t origin;   /* whose it is: flowfs_bus_attach.origin; 0: no member's */
  uint64_t sequence; /* one more than that of the record before it; 0 first in a log */
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_log_record) == 16);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log_record, origin) == 4);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_log_record, sequence) == 8);

/* In `length`: the rest of the ring is empty. The other bits are its bytes, these 16 included. */
#define FLOWFS_LOG_PADDING UINT32_C(0x80000000)

/* ---- the pool
 * ------------------------------------------------------------------------------------
 *
 * pools/shared and pools/UID: blocks that one trust domain shares read-write.
 *
 *   header page | owner words, one a block | hint bytes, one a block | blocks, class by class
 *
 * Blocks are numbered through all classes. Who owns a block is its owner word and nothing else:
 *
 *   state FREE       in the shard that `holder` names
 *   state HELD       by `holder`, a number that FLOWFS_IOC_POOL gave to an open pool file
 *   state IN_FLIGHT  on the lane `holder`, a number that FLOWFS_IOC_POOL_LANE gave to an end: a
 * record of that end's lane names it, or is about to
 *
 * The word changes by compare-and-swap alone. The generation is one more after each FREE and each
 * IN_FLIGHT, so a reference that is out of date matches nothing. After every single instruction
 * exactly one holder is accountable; what a holder leaves behind the daemon frees.
 *
 * Geometry comes from struct flowfs_pool_attach: every member can write the header.
 */

#define FLOWFS_POOL_HEADER_BYTES 4096u
#define FLOWFS_POOL_CLASSES_MOST 16u
#define FLOWFS_POOL_SHARDS_MOST 64u

#define FLOWFS_BLOCK_FREE UINT64_C(0)
#define FLOWFS_BLOCK_HELD UINT64_C(1)
#define FLOWFS_BLOCK_IN_FLIGHT UINT64_C(2)

/* An owner word: state in bits 0-7, holder in 8-31, generation in 32-63. */
#define FLOWFS_BLOCK_WORD(state, holder, generation) \
  ((uint64_t)(state) | (uint64_t)(holder) << 8 | (uint64_t)(generation) << 32)
#define FLOWFS_HOLDER_MOST UINT32_C(0xffffff)
#define FLOWFS_HOLDER_NONE UINT32_C(0)

/* A hint byte: the shard of a free block + 1, or 0. Only a hint: the owner word decides. */
#define FLOWFS_HINT_TAKEN UINT8_C(0)

struct flowfs_pool_class {
  uint64_t offset;      /* of its first block: a multiple of 4096 */
  uint32_t block_bytes; /* a multiple of 64; those of the next class are larger */
  uint32_t blocks;
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_pool_class) == 16);

struct flowfs_pool {
  /* Constants, laid down by the daemon; magic last. */
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint64_t serial;
  uint8_t reserved0[104];

  /* A futex, changed for those who are about to sleep. Who waits for a block of class C waits with
   * the mask 1 << C. */
  uint32_t bell;
  uint8_t reserved1[124];

  /* Bit C: somebody may wait for a block of class C. Set before the wait; cleared by a free that
   * finds nobody asleep, so that a waiter which was killed costs one system call. */
  uint32_t waiters;
  uint8_t reserved2[3836];
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_pool) == FLOWFS_POOL_HEADER_BYTES);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_pool, bell) == 128);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_pool, waiters) == 256);

/* ---- ioctls
 * --------------------------------------------------------------------------------------*/

/* Everything a program needs to go on where the daemon stopped. */
struct flowfs_attach {
  uint32_t version; /* FLOWFS_LAYOUT_VERSION */
  uint32_t status_slot;
  uint64_t flow;
  uint64_t peer_flow;
  uint64_t generation;      /* of the segment behind this tx */
  uint64_t peer_generation; /* of the one behind rx */
  struct flowfs_position write;
  struct flowfs_position read;
  /* Both segments of a flow are laid out alike. */
  uint64_t bulk_offset;
  uint64_t bulk_bytes;
  uint32_t hot_offset;
  uint32_t hot_bytes;
  uint32_t inline_bytes;
  uint32_t mtu_bytes; /* longest record: the mtu of the name, and overhead_bytes */
  uint32_t uid;       /* users/UID/status */
  /* 0; or every record is sealed, and so much longer than its message: flows/ID/key */
  uint32_t overhead_bytes;
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_attach) == 128);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, status_slot) == 4);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, flow) == 8);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, peer_flow) == 16);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, generation) == 24);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, peer_generation) == 32);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, write) == 40);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, read) == 64);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, bulk_offset) == 88);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, bulk_bytes) == 96);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, hot_offset) == 104);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, hot_bytes) == 108);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, inline_bytes) == 112);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, mtu_bytes) == 116);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, uid) == 120);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_attach, overhead_bytes) == 124);

/* What flows/ID/key gives, once after each FLOWFS_IOC_ATTACH, to the end's own uid, in one read.
 * How records are made with it, and the numbers of algorithms, are in docs/oap.md. EPERM: the end
 * is in file mode, or another uid's. ENOKEY: the key was taken, or the flow is not encrypted. */
struct flowfs_key {
  uint32_t version; /* FLOWFS_LAYOUT_VERSION */
  uint8_t cipher;
  uint8_t digest;
  uint16_t reserved;
  /* What this end sends is sealed in these epochs and no others, the first one first. */
  uint32_t first_epoch;
  uint32_t last_epoch;
  /* What it receives: numbers below this one in next_epoch, and all epochs before, are over. */
  uint64_t next_number;
  uint32_t next_epoch;
  uint32_t reserved1;
  uint8_t sending[32]; /* secrets of the two directions */
  uint8_t receiving[32];
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_key) == 96);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_key, cipher) == 4);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_key, digest) == 5);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_key, first_epoch) == 8);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_key, next_number) == 16);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_key, next_epoch) == 24);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_key, sending) == 32);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_key, receiving) == 64);

#define FLOWFS_IOC_MAGIC 0xf5

/* On a message file (dial, accept, data): the end's number under flows/. */
#define FLOWFS_IOC_ID _IOR(FLOWFS_IOC_MAGIC, 1, uint64_t)
/* On a message file: 1, a read shorter than the message gives EMSGSIZE and keeps it; 0, it is
 * split; anything else is EINVAL. */
#define FLOWFS_IOC_PACKET _IOW(FLOWFS_IOC_MAGIC, 2, uint32_t)
/* On an open `bus`: all that it has to read but the newest message is dropped for this member. How
 * many messages. ECONNABORTED: it is no member any more. */
#define FLOWFS_IOC_SKIP _IOR(FLOWFS_IOC_MAGIC, 8, uint64_t)
/* On a message file of a flow: FLOWFS_STATE_* of its end, FLOWFS_STATE_DEALLOCATED when it has
 * gone; what the end's `state` says in words. */
#define FLOWFS_IOC_STATE _IOR(FLOWFS_IOC_MAGIC, 9, uint32_t)
/* On tx opened O_RDWR: this end is in mapped mode until that tx is closed. EBUSY: it already is.
 * EAGAIN: messages written before still wait for room in the lane, or the peer has not yet taken up
 * the segment; try again when the message file polls writable. Or a message that came in a block
 * has been read in part; read the rest. EOPNOTSUPP: everything is to go through the daemon. */
#define FLOWFS_IOC_ATTACH _IOR(FLOWFS_IOC_MAGIC, 3, struct flowfs_attach)

/* What a member of a bus needs to go on where the daemon stopped. */
struct flowfs_bus_attach {
  uint32_t version; /* FLOWFS_LAYOUT_VERSION */
  uint32_t status_slot;
  uint64_t member;     /* its number; with FLOWFS_STATUS_MEMBER in the slot */
  uint64_t generation; /* of the segment behind tx */
  uint64_t log_generation;
  struct flowfs_position write; /* in its lane */
  struct flowfs_position read;  /* in the log: hot and sequence */
  /* Its segment; zeros where tx is the log. */
  uint64_t bulk_offset;
  uint64_t bulk_bytes;
  uint32_t hot_offset;
  uint32_t hot_bytes;
  uint32_t inline_bytes;
  uint32_t mtu_bytes;
  uint32_t uid;    /* users/UID/status */
  uint32_t port;   /* as in port/N */
  uint32_t origin; /* in its records; those of the log that have it are its own */
  uint32_t flags;  /* FLOWFS_BUS_* */
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_bus_attach) == 128);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_bus_attach, member) == 8);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_bus_attach, generation) == 16);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_bus_attach, log_generation) == 24);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_bus_attach, write) == 32);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_bus_attach, read) == 56);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_bus_attach, bulk_offset) == 80);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_bus_attach, hot_offset) == 96);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_bus_attach, mtu_bytes) == 108);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_bus_attach, uid) == 112);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_bus_attach, flags) == 124);

#define FLOWFS_BUS_RECEIVES UINT32_C(1)
#define FLOWFS_BUS_SENDS UINT32_C(2)
/* tx is the log of the bus: the member writes there itself. */
#define FLOWFS_BUS_DIRECT UINT32_C(4)

/* On buses/BUS/port/N/tx opened O_RDWR: the member is in mapped mode until that tx is closed.
 * EBUSY: it already is. EOPNOTSUPP: an Ethernet bus. EDQUOT, ENOMEM: the log is not to be had.
 * EAGAIN: the bus has changed since tx was opened, and another tx stands in its place. */
#define FLOWFS_IOC_BUS _IOR(FLOWFS_IOC_MAGIC, 7, struct flowfs_bus_attach)

/* The geometry of a pool, and a number to hold its blocks by. */
struct flowfs_pool_attach {
  uint32_t version; /* FLOWFS_LAYOUT_VERSION */
  uint32_t holder;  /* until this open file is closed */
  uint64_t serial;  /* of the pool; never used again */
  uint64_t pool_bytes;
  uint64_t words_offset; /* of the owner word of block 0 */
  uint64_t hints_offset; /* of its hint byte: a multiple of 64 */
  uint32_t blocks;       /* of all classes */
  uint32_t classes;
  uint32_t shards;
  uint32_t populated; /* bit C: the memory of class C is there */
  struct flowfs_pool_class class_table[FLOWFS_POOL_CLASSES_MOST];
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_pool_attach) == 56 + 256);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_pool_attach, class_table) == 56);

struct flowfs_pool_lane {
  uint64_t flow; /* in: an end of the caller's uid that is in mapped mode */
  uint32_t lane; /* out: the number for its blocks in flight */
  uint32_t reserved;
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_pool_lane) == 16);

/* On a pool file opened O_RDWR: joins it. EBUSY: this open file has joined already. */
#define FLOWFS_IOC_POOL _IOR(FLOWFS_IOC_MAGIC, 4, struct flowfs_pool_attach)
/* On a pool file that has joined: the end may send blocks of this pool and be sent them, until it
 * is no longer mapped or the pool file is closed. EBUSY: the end has joined a pool already. EAGAIN:
 * blocks that it sent before are still unread. ENOENT: no such end. ENOTCONN: the file has not
 * joined. */
#define FLOWFS_IOC_POOL_LANE _IOWR(FLOWFS_IOC_MAGIC, 5, struct flowfs_pool_lane)
/* The same file: the memory of class C (uint32_t) is wanted; do so once before its first block is
 * taken. EDQUOT, ENOMEM: it is not to be had. With FLOWFS_POOL_EXHAUSTED: no block of the class was
 * free; the daemon frees at once what it may. */
#define FLOWFS_POOL_EXHAUSTED UINT32_C(0x80000000)
#define FLOWFS_IOC_POOL_CLASS _IOW(FLOWFS_IOC_MAGIC, 6, uint32_t)

/* ---- the socket
 * -------------------------------------------------------------------------------
 *
 * Where the mount cannot map (an older kernel, a daemon without root, `passthrough = false`), mmap
 * of a mapped file fails with ENODEV, and its memory is handed out over DIR.sock beside the mount:
 * AF_UNIX, SOCK_SEQPACKET. One request, one answer, with a descriptor (SCM_RIGHTS) where `error` is
 * 0. Whether the caller may is decided by the modes of the tree and the identity with which it
 * connected. Everything else, FLOWFS_IOC_ATTACH among it, is done on the open file as before.
 */

#define FLOWFS_MEMORY_TX UINT32_C(1)          /* flows/ID/tx; `object` is ID */
#define FLOWFS_MEMORY_RX UINT32_C(2)          /* flows/ID/rx, read-only */
#define FLOWFS_MEMORY_STATUS UINT32_C(3)      /* users/UID/status, read-only; UID */
#define FLOWFS_MEMORY_POOL UINT32_C(4)        /* pools/UID; UID */
#define FLOWFS_MEMORY_SHARED_POOL UINT32_C(5) /* pools/shared; 0 */
#define FLOWFS_MEMORY_BUS_TX UINT32_C(6)      /* port/N/tx; flowfs_bus_attach.member */
#define FLOWFS_MEMORY_BUS_LOG UINT32_C(7)     /* log of that member's bus, read-only; the same */

#define FLOWFS_MEMORY_READ UINT32_C(0)
#define FLOWFS_MEMORY_WRITE UINT32_C(1)

struct flowfs_memory_request {
  uint32_t version; /* FLOWFS_LAYOUT_VERSION */
  uint32_t file;    /* FLOWFS_MEMORY_TX ... */
  uint64_t object;
  uint32_t access;   /* FLOWFS_MEMORY_READ or FLOWFS_MEMORY_WRITE, which is to read too */
  uint32_t reserved; /* 0 */
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_memory_request) == 24);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_memory_request, object) == 8);
FLOWFS_STATIC_ASSERT(offsetof(struct flowfs_memory_request, access) == 16);

struct flowfs_memory_answer {
  uint32_t version; /* FLOWFS_LAYOUT_VERSION */
  uint32_t error;   /* an errno; 0: the descriptor comes with this answer */
};
FLOWFS_STATIC_ASSERT(sizeof(struct flowfs_memory_answer) == 8);

#endif
