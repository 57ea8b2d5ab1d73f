// SPDX-License-Identifier: BSD-3-Clause
// The memory of one end: header page, hot ring, bulk ring (docs/dataplane.md, flowfs/wire.h).
//
// Threads: any, one at a time; what is inside is shared as wire.h says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "flowfs/wire.h"

namespace flowfs::pool {

enum class Generation : std::uint64_t {};  // of an end's segment; the first is 1

using Position = flowfs_position;

// How a segment is divided. Both segments of a flow are alike.
struct Geometry {
  std::uint32_t hot_bytes = FLOWFS_HOT_RING_DEFAULT_BYTES;
  std::uint32_t inline_bytes = 0;  // longest payload of a record; longer ones go to the bulk ring
  std::uint64_t bulk_bytes = 0;
  std::uint32_t mtu_bytes = 0;

  // `hot_bytes` is a multiple of 4096; 1 <= mtu_bytes < 1 GiB. The bulk ring holds two of the
  // longest messages, `depth_bytes` where that is more (up to 64 MiB), and is absent where every
  // message goes inline. Errors: EINVAL.
  static Result<Geometry> plan(std::size_t mtu_bytes, std::size_t depth_bytes,
                               std::size_t hot_bytes = FLOWFS_HOT_RING_DEFAULT_BYTES);
  // From outside: an answer to FLOWFS_IOC_ATTACH. EINVAL where it could not be walked safely.
  static Result<Geometry> from(const flowfs_attach& attach);

  [[nodiscard]] std::size_t hot_offset() const { return FLOWFS_SEGMENT_HEADER_BYTES; }
  [[nodiscard]] std::size_t bulk_offset() const { return hot_offset() + hot_bytes; }
  [[nodiscard]] std::size_t segment_bytes() const { return bulk_offset() + bulk_bytes; }
  [[nodiscard]] bool valid() const;
  bool operator==(const Geometry&) const = default;
};

enum class [[nodiscard]] AttachOutcome {
  ok,
  not_ready,      // nobody has laid it out yet
  wrong_version,  // of another flowfs
  corrupt,        // not a segment, or not the one expected
};

// Whether the mapped bytes are the segment of `flow` with this geometry and generation. Says
// nothing about the rings: those are checked record by record.
AttachOutcome check_segment(std::span<const std::byte> segment, const Geometry& geometry,
                            std::uint64_t flow, Generation generation);

// Owns the memfd and the daemon's mapping of it.
class Segment {
 public:
  // Header and hot ring are allocated at once, the bulk ring as it is used. Errors: those of
  // memfd_create, fallocate and mmap.
  static Result<Segment> create(const Geometry& geometry, std::uint64_t flow,
                                Generation generation);

  [[nodiscard]] std::span<std::byte> bytes() const { return mapping_->bytes(); }
  [[nodiscard]] flowfs_segment& header() const;
  [[nodiscard]] const Fd& fd() const { return fd_; }
  // Whoever registered it elsewhere keeps the memory; so does the mapping.
  void close_fd() { fd_.reset(); }
  [[nodiscard]] Generation generation() const { return generation_; }
  // For a wait in the loop, which may outlive this object.
  [[nodiscard]] const std::shared_ptr<Mapping>& mapping() const { return mapping_; }
  // Gives every page back, whoever still maps them: a mapping outlives the right to it, and must
  // not hold memory that is charged to nobody. What is read here afterwards is zeros.
  void discard();

 private:
  Segment(Fd fd, std::shared_ptr<Mapping> mapping, Generation generation);

  Fd fd_;
  std::shared_ptr<Mapping> mapping_;
  Generation generation_;
};

}  // namespace flowfs::pool
