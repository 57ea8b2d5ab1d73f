// SPDX-License-Identifier: BSD-3-Clause
// buses/BUS/log and buses/BUS/port/N/tx: the files that members of buses map.
//
// Each is an inode of its own with one backing, which lasts as long as the memory behind it: a log,
// or the segment of a member (as MappedEnds has it for flows). Threads: the loop's.
// Invariants:
//   1. A bus has a log exactly while a member that receives is mapped, but for the want of memory
//      to do without it again; or while its only sender writes one.
//   2. members_ has a member for each tx that may be open, and only of ports that are, or that are
//      attached still.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fs/backings.hpp"
#include "fs/buses.hpp"
#include "fs/file_table.hpp"
#include "fs/mapped_ends.hpp"
#include "fs/mapped_member.hpp"
#include "fs/mapping_owner.hpp"

namespace flowfs::fs {

class MappedBuses;

// An open tx of a member, or an open log.
class MemberFile : public File {
 public:
  MemberFile(MappedBuses& mapped, Replies& replies, Node node, int flags,
             std::optional<bus::PortId> transmitter)
      : File(replies, node, flags), mapped_(mapped), transmitter_(transmitter) {}
  ~MemberFile() override { detach(); }

  // FLOWFS_IOC_BUS, on tx opened O_RDWR.
  void ioctl(Request request, unsigned command, std::span<const std::byte> in,
             std::size_t out_size) override;
  // As MappingOwner says.
  void flush(Request request, std::uint64_t lock_owner) override;

 private:
  void detach();

  MappedBuses& mapped_;
  std::optional<bus::PortId> transmitter_;
  MappingOwner owner_;
};

class MappedBuses {
 public:
  MappedBuses(Loop& loop, registry::Users& users, Buses& buses, MappedEnds& ends, FileTable& files,
              Replies& replies, Backings& backings);

  void set_hot_ring(std::size_t bytes) { hot_ring_bytes_ = bytes; }
  void set_direct(bool direct) { direct_ = direct; }

  // The nodes of a port's tx and of a bus's log; none of an Ethernet, and of a bus without a log.
  std::optional<Node> tx(bus::PortId port);
  [[nodiscard]] std::optional<Node> log(registry::BusId bus) const;

  // Of those nodes.
  [[nodiscard]] bool exists(Node node) const;
  [[nodiscard]] std::uint64_t bytes(Node node) const;
  // The bus of a log, the port of a tx.
  [[nodiscard]] std::optional<registry::BusId> bus_of(Node node) const;
  [[nodiscard]] std::optional<bus::PortId> port_of(Node node) const;
  void open(Request request, Node node, int flags);
  // What is behind it, as a descriptor that stays ours. Errors: ESTALE; EACCES not for writing;
  // those of making a segment.
  Result<int> memory(Node node, bool writable, uid_t by);

  // A port is about to leave: what it has sent is sent.
  void before_leave(bus::PortId port);
  void port_gone(bus::PortId port);
  // It is about to give up these rights: which of them it can. Sending only where all that it has
  // sent is sent; else that is given up then.
  registry::Rights before_shut_down(bus::PortId port, registry::Rights rights);
  // It has, and kept another.
  void shut_down(bus::PortId port);

  // Members that lied, ever.
  [[nodiscard]] std::uint64_t lies() const { return lies_; }

 private:
  friend class MemberFile;
  [[nodiscard]] MappedMember* find(Node tx) const;
  [[nodiscard]] LiveBus* live_of(const MappedMember& member) const;
  Status make_memory(MappedMember& member, uid_t payer);
  Status make_log(LiveBus& live);
  void drop_log(LiveBus& live);
  // --- written by its only sender (mapped_direct.cpp)
  // Of such a log, with its page.
  static std::uint64_t log_bytes(const registry::BusSettings& settings);
  [[nodiscard]] bool may_be_direct(const registry::Port& port) const;
  [[nodiscard]] bool fits(const MappedMember& member, const registry::Port& port) const;
  Status begin_direct(LiveBus& live, MappedMember& writer);
  void end_direct(LiveBus& live, bus::PortId writer);
  // ---
  // `tx` is what the caller has open.
  Result<MappedMember*> to_be_attached(bus::PortId port, Node tx);
  Result<flowfs_bus_attach> attach(bus::PortId port, Node tx);
  void detach(bus::PortId port);
  static void ring_readers(LiveBus& live);
  void end_sending(bus::PortId port);
  void sweep();

  Loop& loop_;
  registry::Users& users_;
  Buses& buses_;
  MappedEnds& ends_;
  FileTable& files_;
  Replies& replies_;
  Backings& backings_;
  std::size_t hot_ring_bytes_ = FLOWFS_HOT_RING_DEFAULT_BYTES;
  bool direct_ = true;
  std::uint64_t next_serial_ = 1;
  std::unordered_map<bus::PortId, std::unique_ptr<MappedMember>> members_;
  std::unordered_map<std::uint64_t, bus::PortId> ports_;     // by serial of tx
  std::unordered_map<std::uint64_t, registry::BusId> logs_;  // by serial of log
  std::vector<bus::PortId> outcasts_;                        // to be thrown out
  std::vector<bus::PortId> silent_;                          // have sent all, and send no more
  std::uint64_t lies_ = 0;
  Loop::Timer sweep_;
};

}  // namespace flowfs::fs
