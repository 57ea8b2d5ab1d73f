// SPDX-License-Identifier: BSD-3-Clause
// An open `bus`: one member of a bus, from its open to its RELEASE.
//
// Threads: the loop's.
// Invariants:
//   1. A request waits in readers_ only while there is nothing for this member, and in writers_
//      only while the bus waits for room on its behalf.
#pragma once

#include "fs/buses.hpp"
#include "fs/message_rules.hpp"

namespace flowfs::fs {

class BusFile : public File, private bus::Member {
 public:
  BusFile(Buses& buses, Parking& parking, Replies& replies, Node node, int flags);
  ~BusFile() override;

  // Before anything else. Errors: those of registry::Buses::join.
  Status join(LiveBus& live, registry::Opener who, registry::Rights rights);

  void read(Request request, std::size_t size, const Transfer& transfer) override;
  void write(Request request, std::span<const std::byte> data, const Transfer& transfer) override;
  void ioctl(Request request, unsigned command, std::span<const std::byte> in,
             std::size_t out_size) override;
  unsigned ready() override;
  // Its requests end, and there will be none while the member is mapped.
  void on_mapped();
  // It has no more than these rights, and without any it is no member any more.
  void on_shut_down(registry::Rights left);

 private:
  void on_message() override;
  void on_room() override;
  void on_cut_off() override;

  // Null where it reads and writes as a file.
  [[nodiscard]] MappedMember* mapped() const;
  bool answer_read(Request request, std::size_t size);
  void skip(Request request);
  void serve_writer();
  void wait_for_room();

  Buses& buses_;
  Parking& parking_;
  LiveBus* live_ = nullptr;  // null: no member (any more)
  bus::PortId port_{};
  bool reads_end_ = false;   // shut down: reads find the end
  bool writes_end_ = false;  // writes find nobody
  MessageRules rules_;
  Waits readers_;
  Waits writers_;
};

}  // namespace flowfs::fs
