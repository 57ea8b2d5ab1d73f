// SPDX-License-Identifier: BSD-3-Clause
// Two segments in private memory and the two ends of the lane in the first: what tests of lanes
// share.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "pool/lane.hpp"
#include "pool/shared.hpp"

namespace flowfs::pool::test {

inline std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

inline std::string text(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

// Zeroed, page-aligned memory, as a new segment is. One mapping, so that ThreadSanitizer sees all.
class Memory {
 public:
  explicit Memory(std::size_t size) : size_(size) {
    void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FLOWFS_CHECK(data != MAP_FAILED);
    data_ = static_cast<std::byte*>(data);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { ::munmap(data_, size_); }
  [[nodiscard]] std::span<std::byte> bytes() const { return {data_, size_}; }
  [[nodiscard]] flowfs_segment& header() const { return segment_header(bytes()); }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_;
};

inline Geometry geometry(std::size_t mtu, std::size_t hot = 4096) {
  const auto planned = Geometry::plan(mtu, 0, hot);
  FLOWFS_CHECK(planned.has_value());
  return *planned;
}

inline constexpr Generation kFirst{1};
inline constexpr Position kStart{.hot = 0, .bulk = 0, .sequence = 0};

// The lane in `sender`, read by `receiver`.
struct Lane {
  explicit Lane(const Geometry& shape)
      : geometry(shape),
        sender(shape.segment_bytes()),
        receiver(shape.segment_bytes()),
        writer(shape, sender.bytes(), receiver.bytes(), kFirst, kStart),
        reader(shape, sender.bytes(), kStart),
        cursors(shape, receiver.header().cursors, kFirst, kStart) {}

  // One message, or what there is instead: "(empty)", "(end)", "(corrupt)".
  std::string read() {
    LaneReader::Record record;
    switch (reader.peek(record)) {
      case LaneReader::Outcome::record:
        break;
      case LaneReader::Outcome::empty:
        return "(empty)";
      case LaneReader::Outcome::end:
        return "(end)";
      case LaneReader::Outcome::corrupt:
        return "(corrupt)";
    }
    std::string result = text(record.payload);
    reader.pop();
    return result;
  }
  flowfs_record& record_at(std::size_t offset) const {
    return *reinterpret_cast<flowfs_record*>(sender.bytes().data() + geometry.hot_offset() +
                                             offset);
  }

  Geometry geometry;
  Memory sender;
  Memory receiver;
  LaneWriter writer;
  LaneReader reader;
  CursorPublisher cursors;
};

}  // namespace flowfs::pool::test
