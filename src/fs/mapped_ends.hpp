// SPDX-License-Identifier: BSD-3-Clause
// tx and rx of ends, and users/UID/status: files that programs map.
//
// A segment has two views: tx of its own end, and rx of the peer's. Each is an inode of its own
// with one backing, which lasts as long as the segment. When an end goes back to file mode its
// segment is never used again, so its views get new inodes. Threads: the loop's.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include "fs/backings.hpp"
#include "fs/ends.hpp"
#include "fs/file_table.hpp"
#include "fs/mapping_owner.hpp"
#include "pool/status.hpp"

namespace flowfs::fs {

enum class View : std::uint8_t { tx = 1, rx = 2 };

class MappedEnds;

// The inodes and backings of one segment. Its number is never used again.
class SegmentNode {
 public:
  SegmentNode(MappedEnds& owner, const Flow& flow, flow::Side side);
  ~SegmentNode();
  SegmentNode(const SegmentNode&) = delete;
  SegmentNode& operator=(const SegmentNode&) = delete;

  [[nodiscard]] std::uint64_t serial() const { return serial_; }
  // The end that sees this segment as `view`.
  [[nodiscard]] registry::FlowId end_of(View view) const;

 private:
  friend class MappedEnds;
  MappedEnds& owner_;
  const Flow& flow_;
  flow::Side side_;
  std::uint64_t serial_;
  std::array<Backing, 2> backings_;  // by View
};

class MappedFile : public File {
 public:
  MappedFile(MappedEnds& mapped, Replies& replies, Node node, int flags,
             std::optional<registry::FlowId> transmitter)
      : File(replies, node, flags), mapped_(mapped), transmitter_(transmitter) {}
  ~MappedFile() override;

  // FLOWFS_IOC_ATTACH, on tx opened O_RDWR.
  void ioctl(Request request, unsigned command, std::span<const std::byte> in,
             std::size_t out_size) override;
  // As MappingOwner says.
  void flush(Request request, std::uint64_t lock_owner) override;
  // Whether it is the tx of an end, which closing it may detach.
  [[nodiscard]] bool is_of_transmitter() const { return transmitter_.has_value(); }
  // This is users/UID/status.
  void shows_status_of(uid_t uid) { status_of_ = uid; }

 private:
  void detach();

  MappedEnds& mapped_;
  std::optional<registry::FlowId> transmitter_;  // the end of this tx
  MappingOwner owner_;
  std::optional<uid_t> status_of_;
};

class MappedEnds {
 public:
  MappedEnds(Loop& loop, registry::Users& users, Ends& ends, FileTable& files, Replies& replies,
             Backings& backings);
  ~MappedEnds();

  void set_hot_ring(std::size_t bytes) { hot_ring_bytes_ = bytes; }
  // Whether ends may be put into mapped mode at all.
  void set_direct(bool direct) { direct_ = direct; }

  // The node of an end's tx or rx; nothing while the end has no peer.
  std::optional<Node> node(End& end, View view);
  struct Seen {
    registry::FlowId end;
    View view;
  };
  [[nodiscard]] std::optional<Seen> find(Node segment) const;
  [[nodiscard]] std::uint64_t bytes(Node segment) const;
  static std::uint64_t status_bytes();

  void open(Request request, Node segment, int flags);
  void open_status(Request request, Node node, uid_t uid, int flags);

  // What is behind tx or rx, and behind a status file that is in use, as a descriptor that stays
  // ours. Errors: ESTALE; EACCES where it is not for writing; ENOENT; those of making segments.
  Result<int> memory(Node segment, bool writable, uid_t by);
  Result<int> status_memory(uid_t uid, bool writable) const;

  // What users/UID/status shows, for whoever else has slots in it and says when it has given one
  // back. Errors: those of StatusFile::create.
  Result<pool::StatusFile*> status_of(uid_t uid);
  void status_given_back() { sweep_.arm(Clock::now()); }

 private:
  friend class MappedFile;
  friend class SegmentNode;
  Status make_segments(Flow& flow, uid_t payer);
  Status register_views(Flow& flow, flow::Side side);
  void reply_mapped(Request request, std::unique_ptr<MappedFile> file, int backing);
  Result<flowfs_attach> attach(registry::FlowId id);
  void detach(registry::FlowId id);
  void status_closed(uid_t uid);
  void drop_unused_statuses();
  SegmentNode& segment_node(Flow& flow, flow::Side side);

  struct UserStatus {
    pool::StatusFile file;
    Backing backing;
    std::size_t opens = 0;  // of users/UID/status
  };

  Loop& loop_;
  registry::Users& users_;
  Ends& ends_;
  FileTable& files_;
  Replies& replies_;
  Backings& backings_;
  std::size_t hot_ring_bytes_ = FLOWFS_HOT_RING_DEFAULT_BYTES;
  bool direct_ = true;
  std::unordered_map<std::uint64_t, SegmentNode*> nodes_;
  std::uint64_t next_serial_ = 1;
  std::map<uid_t, std::unique_ptr<UserStatus>> statuses_;
  Loop::Timer sweep_;
};

}  // namespace flowfs::fs
