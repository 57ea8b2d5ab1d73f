// SPDX-License-Identifier: BSD-3-Clause
// The `pcap` stream of a bus: what is sent on it, as a capture in the pcapng format.
//
// Each descriptor has a capture of its own, which begins at its open: a section, then each port as
// an interface when it first sends, then the messages. What a slow reader has no room for is lost
// for it alone, and told: by statistics of each interface, and at the next packet.
// Threads: the loop's.
// Invariants: 1. At most `kMostBytes` wait for a reader, which it was charged for when it opened.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>

#include "bus/pcapng.hpp"
#include "bus/policy.hpp"
#include "fs/file.hpp"
#include "fs/parking.hpp"

namespace flowfs::fs {

class PcapFile;

// The readers of one bus.
class Captures {
 public:
  Captures() = default;
  ~Captures();
  Captures(const Captures&) = delete;
  Captures& operator=(const Captures&) = delete;

  [[nodiscard]] bool wanted() const { return !readers_.empty(); }
  void add(bus::PortNumber port, std::span<const std::byte> message);
  // What comes from now on is of this type.
  void set_link_type(bus::PcapngWriter::LinkType type);

 private:
  friend class PcapFile;
  std::unordered_set<PcapFile*> readers_;
};

class PcapFile : public File {
 public:
  static constexpr std::size_t kMostBytes = 1 << 20;

  // `kept` is the charge for what may wait.
  PcapFile(Captures& captures, Parking& parking, Replies& replies, Node node, int flags,
           bus::PcapngWriter::LinkType type, registry::Charge kept);
  ~PcapFile() override;

  void read(Request request, std::size_t size, const Transfer& transfer) override;
  unsigned ready() override;

 private:
  friend class Captures;
  struct Source {
    std::optional<bus::PcapngWriter::Interface> interface;
    std::uint64_t seen = 0;
    std::uint64_t lost = 0;
    std::uint64_t lost_since = 0;  // the last packet that was kept
  };

  void add(bus::PortNumber port, std::span<const std::byte> message);
  void set_link_type(bus::PcapngWriter::LinkType type);
  void tell_lost(std::uint64_t now_ns);
  void append(std::string block);
  void answer(Request request, std::size_t size);
  void on_bus_gone();

  Captures* captures_;  // null: the bus has been removed, and the file has ended
  Parking& parking_;
  registry::Charge kept_;
  bus::PcapngWriter writer_;
  std::map<bus::PortNumber, Source> sources_;
  std::deque<std::string> blocks_;
  std::size_t bytes_ = 0;  // of blocks_
  std::size_t taken_ = 0;  // of the first
  bool lossy_ = false;     // something was lost that is still to be told
  Waits readers_;
};

}  // namespace flowfs::fs
