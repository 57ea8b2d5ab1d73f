// SPDX-License-Identifier: BSD-3-Clause
// The data of one flow as the daemon sees it: two directions, each end in file mode or mapped mode.
//
//   file  -> file      a private queue in the daemon; no shared memory
//   file  -> mapped    the daemon writes the lane of the file end's segment on its behalf
//   mapped -> file     the daemon reads the mapped end's lane on behalf of the file end
//   mapped -> mapped   the daemon takes no part
//
// Threads: the loop's.
// Errors: outcomes. What is in a segment that a client could ever write is input (threats.md R1,
// R2). Units: bytes. Invariants:
//   1. A message leaves a direction exactly as it was written, once, in order.
//   2. queued_bytes(from) <= max(depth, one message); after detach(from) also what its lane held.
//   3. After close(side) nothing is read from what that side maps but the records that were
//   committed
//      before, and nothing is written to it.
//   4. Of an encrypted flow, queues, lanes and whatever copies them hold records (sealing.hpp).
//      Limits, statistics and what fronts show are of the messages in them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/loop.hpp"
#include "base/result.hpp"
#include "flow/message_queue.hpp"
#include "flow/sealing.hpp"
#include "pool/segment.hpp"
#include "pool/status.hpp"

namespace flowfs::flow {

enum class Side : std::uint8_t { client, server };
constexpr Side other(Side side) { return side == Side::client ? Side::server : Side::client; }

enum class [[nodiscard]] WriteOutcome {
  ok,
  full,      // no room now
  too_long,  // longer than the mtu: EMSGSIZE
  closed,    // the peer has gone or does not receive: EPIPE
  busy,      // this end is in mapped mode: EBUSY
  corrupt,   // the flow is poisoned: EPROTO
};

enum class [[nodiscard]] ReadOutcome {
  ok,
  empty,
  end,      // end of file: the peer will send no more, and all it sent has been read
  busy,     // this end is in mapped mode: EBUSY
  corrupt,  // EPROTO
};

struct Limits {
  std::size_t mtu_bytes = 917'504;
  std::size_t depth_bytes = 1'048'576;
  std::size_t overhead_bytes = 0;  // of a record over its message, where the flow is encrypted
  [[nodiscard]] std::size_t record_bytes() const { return mtu_bytes + overhead_bytes; }
};

// messages = delivered + drops + what is still unread, of all that passes the daemon: what a mapped
// end sends to a file is counted when the daemon takes or drops it, and what goes from one mapped
// end to another never.
struct DirectionStats {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t copies = 0;  // between the sender's commit and the receiver's view
  std::uint64_t drops = 0;   // sent, and never read: the receiver had gone, or would read no more
};

// Messages that mapped ends sent, as the daemon comes to see them.
struct Seen {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
};

// What a mapped end says of itself, by direction.
struct EndCounters {
  flowfs_counters sending{};
  flowfs_counters receiving{};
};

class Channel;
class Mapped;

// Who hears that a mapped peer has done something. Called from the loop, never from inside a call.
class Listener {
 public:
  virtual ~Listener() = default;
  // What a file end of this channel waited for may be there. One call for each wait_for(): whoever
  // still waits after looking says so again. The channel may be destroyed by the call.
  virtual void on_mapped_peer_activity(Channel& channel) = 0;
};

// The blocks of a pool that the records of a mapped end name, for a peer in file mode. Asked from
// inside calls on the channel, which it must not call.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  // Copies the message in the block that a record of `from` names to `copy`, which is as long, and
  // frees the block. False: it is not on its way, or no longer, so there is no such message.
  virtual bool take(Side from, const flowfs_block& block, std::span<std::byte> copy) = 0;
};

// What is told to the peer of an end that can be mapped.
struct EndIdentity {
  std::uint64_t flow = 0;  // as in flows/ID
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  // Of the end's uid; outlives the channel. Null for an end that has closed already: it gets no
  // slot.
  pool::StatusFile* status = nullptr;
};

struct MappedSetup {
  Loop* loop = nullptr;  // outlive the channel
  Listener* listener = nullptr;
  BlockSource* blocks = nullptr;  // null: the flow has no pool; outlives the channel's mapped ends
  std::array<EndIdentity, 2> ends;  // by Side
  std::size_t hot_ring_bytes = FLOWFS_HOT_RING_DEFAULT_BYTES;
};

// What fs registers as the backing of tx (the end's own) and rx (the peer's).
struct SegmentView {
  int fd = -1;  // open until close_segment_fd() or the end of this generation
  pool::Generation generation{};
  std::size_t bytes = 0;
};

// What a parked request waits for.
struct Interest {
  bool data = false;  // a message or end of file
  // Room for a message of this length, the mtu standing for any as in writable(); 0: not waited
  // for.
  std::size_t room_bytes = 0;
};

class Channel {
 public:
  explicit Channel(Limits limits);
  ~Channel();
  // Before anything else is done with it: its messages are sealed from end to end.
  void encrypt(Keys keys);
  [[nodiscard]] bool is_encrypted() const { return limits_.overhead_bytes != 0; }

  // File-mode data path. `from` and `to` are the end that acts. A message is accepted when nothing
  // is queued or when it fits into the depth beside what is; it is not empty. An end that has shut
  // down or closed its own direction writes `closed` and reads `end`.
  WriteOutcome write(Side from, std::span<const std::byte> message);
  // Whether a message may go straight from its writer to a reader that waits, without being queued:
  // both ends are in file mode, nothing is queued before it, write() would accept it, and it need
  // not be sealed.
  [[nodiscard]] bool may_pass(Side from, std::size_t bytes) const;
  void passed(Side from, std::size_t bytes);  // it did: counts it, with no copy
  // The unread rest of the message at the front, valid until the next call on this channel.
  struct Front {
    ReadOutcome outcome = ReadOutcome::empty;
    std::span<const std::byte> rest;
    bool begun = false;  // an earlier read took the first part
  };
  Front front(Side to);
  // Takes `bytes` <= rest.size() off the front message; the message goes when all of it is taken.
  void consume(Side to, std::size_t bytes);

  // Half-closes and closes. All idempotent.
  void shutdown_write(Side side);  // its peer reads end of file after the rest
  void shutdown_read(Side side);   // its peer's writes are `closed`; what is queued is dropped
  void close(Side side);  // both, and a mapped side is detached; what it sent stays readable
  [[nodiscard]] bool is_closed(Side side) const;
  // Whether the peer of `side` may still read what that sends.
  [[nodiscard]] bool is_heard(Side side) const { return from(side).reader_open; }

  // Readiness of a file-mode end, as poll reports it.
  [[nodiscard]] bool readable(Side side);  // a message or end of file
  // Room for one message of any legal length, or writing would fail at once.
  [[nodiscard]] bool writable(Side side);

  // Private memory held for what `from` sent, but for one message that is being read from a lane.
  [[nodiscard]] std::size_t queued_bytes(Side from) const;
  [[nodiscard]] const DirectionStats& stats(Side from) const;
  // What stats(from) has come to count since the last call that did not come through write() or
  // passed().
  [[nodiscard]] Seen take_seen(Side from);
  [[nodiscard]] const Limits& limits() const { return limits_; }

  // --- mapped mode -------------------------------------------------------------------------------
  // Bytes of one end's segment, to be charged before make_segments(). Errors: EINVAL for limits
  // that cannot be laid out.
  static Result<std::size_t> segment_bytes(const Limits& limits, std::size_t hot_ring_bytes);

  // At the first opening of tx or rx: both ends' segments and status slots. Changes nothing else.
  // Once they were made, later calls only replace a segment that a detach took away (and ignore
  // `setup`). Errors: those of memfd_create, fallocate and mmap; ENFILE no status slot.
  Status make_segments(const MappedSetup& setup);
  [[nodiscard]] bool has_segments() const { return mapped_ != nullptr; }
  // The present segment of `side`. A new generation is a new backing, under a new inode. Errors:
  // ENOENT none (make_segments() makes it).
  [[nodiscard]] Result<SegmentView> segment(Side side) const;
  // The backings of this segment are registered and keep it: its memfd is closed, and segment().fd
  // is -1.
  void close_segment_fd(Side side);

  // FLOWFS_IOC_ATTACH. EBUSY already in mapped mode; EPROTO poisoned; ENOENT no segments; EPIPE
  // closed; EAGAIN messages written before still wait for room in this end's lane, or its mapped
  // peer still reads the segment before: wait_for() room, then try again. Or a message that came in
  // a block has been read in part, and its rest can only be read. Parked requests of the
  // file side are the caller's to end (EBUSY). attach() and detach() forget what both ends waited
  // for: look again afterwards, and wait_for() again.
  Result<flowfs_attach> attach(Side side);
  // The attached tx was closed. What the end had committed stays readable; the segment is given up.
  // Errors: EINVAL not mapped; as make_segments where the peer is mapped and needs a new one (the
  // channel is poisoned then).
  Status detach(Side side);
  [[nodiscard]] bool is_mapped(Side side) const;
  [[nodiscard]] bool is_corrupt() const;
  // What the program of a mapped end of an encrypted flow seals and opens with, once after each
  // attach(): from then on it alone may seal for this end, until detach(). Errors: EPERM the end is
  // in file mode; ENOKEY it was taken, or there is none; EPROTO poisoned.
  Result<flowfs_key> take_key(Side side);

  // The pool that a mapped end has joined, by its serial; 0: none, as after detach() and close().
  // While both ends have joined the same one, their slots tell it, and records may name its blocks.
  void set_pool(Side side, std::uint64_t serial);
  // The blocks that records of `from` name which its peer may still read. What the lane says:
  // input.
  [[nodiscard]] std::vector<flowfs_block> unread_blocks(Side from);
  // What the programs that had this end mapped have counted, as far as they tell the truth.
  [[nodiscard]] EndCounters counters(Side side);

  // The end's state as FLOWFS_STATE_*, for its own slot and its peer's. No effect without segments.
  void set_state(Side side, std::uint32_t state);

  // Arms a wait on the mapped peer of `side`, which has not closed, that ends in one
  // on_mapped_peer_activity(), also where what is waited for is there already. Adds to an earlier
  // interest. Nothing is armed where the peer is in file mode: then the caller itself sees all that
  // happens. An end that is mapped itself (poll on its message file) hears its peer only if the
  // program has set its own sleep word, as docs/dataplane.md says.
  void wait_for(Side side, Interest interest);
  void stop_waiting(Side side);

 private:
  friend class Mapped;
  struct Direction {
    MessageQueue queue;
    std::optional<Sealing> sealing;
    bool writer_open = true;
    bool reader_open = true;
    DirectionStats stats;
    Seen seen;  // not yet taken
    [[nodiscard]] std::size_t overhead() const { return sealing ? Sealing::kOverhead : 0; }
    // Of messages that are queued; none of their records is shorter than its overhead.
    [[nodiscard]] std::size_t queued_bytes() const {
      return queue.payload_bytes() - queue.count() * overhead();
    }
    void count_seen(std::size_t record_bytes) {
      const std::size_t message_bytes = record_bytes - std::min(record_bytes, overhead());
      ++stats.messages;
      stats.bytes += message_bytes;
      ++seen.messages;
      seen.bytes += message_bytes;
    }
    void count(std::size_t message_bytes) {
      ++stats.messages;
      ++stats.copies;
      stats.bytes += message_bytes;
    }
  };
  Direction& from(Side side) { return directions_[static_cast<std::size_t>(side)]; }
  [[nodiscard]] const Direction& from(Side side) const {
    return directions_[static_cast<std::size_t>(side)];
  }
  [[nodiscard]] bool has_room(const Direction& direction, std::size_t bytes) const;
  // front() and consume() of what is carried: records, where the flow is encrypted.
  Front carried_front(Side to);
  void consume_carried(Side to, std::size_t bytes);
  void drop_carried(Side to);
  Front open_front(Side to);

  Limits limits_;
  std::array<Direction, 2> directions_;
  std::array<bool, 2> ends_closed_{};
  std::unique_ptr<Mapped> mapped_;
};

}  // namespace flowfs::flow
