// SPDX-License-Identifier: BSD-3-Clause
#include <cstring>
#include <utility>

#include "pool/lane.hpp"
#include "pool/shared.hpp"

namespace flowfs::pool {

namespace {

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t step) {
  return (value + step - 1) & ~(step - 1);
}

constexpr std::uint64_t behind(std::uint64_t position, std::uint64_t capacity) {
  return position > capacity ? position - capacity : 0;
}

}  // namespace

LaneWriter::LaneWriter(const Geometry& geometry, std::span<std::byte> own,
                       std::span<const std::byte> peer, Generation own_generation,
                       const Position& start)
    : geometry_(geometry),
      own_(own),
      cursors_(&segment_header(peer).cursors),
      generation_(own_generation),
      committed_(start),
      staged_(start),
      staged_offset_(start.hot % geometry.hot_bytes),
      // The rings may be full of what the reader has not read; refresh() learns better.
      reader_hot_(round_up(behind(start.hot, geometry.hot_bytes), FLOWFS_RECORD_ALIGN)),
      reader_bulk_(round_up(behind(start.bulk, geometry.bulk_bytes), FLOWFS_BULK_ALIGN)) {
  FLOWFS_CHECK(geometry.valid() && own.size() >= geometry.segment_bytes() &&
               peer.size() >= sizeof(flowfs_segment));
}

LaneWriter::Outcome LaneWriter::stage(std::span<const std::byte> message, std::uint16_t origin) {
  FLOWFS_CHECK(!message.empty() && message.size() <= geometry_.mtu_bytes);
  if (const Outcome room = room_for(message.size()); room != Outcome::ok) {
    return room;
  }
  const Place where = place(message.size());
  if (where.padding != 0) {
    put_commit(staged_offset_,
               FLOWFS_COMMIT_PADDING |
                   static_cast<std::uint32_t>(where.padding - sizeof(flowfs_record) + 1));
    record_at(staged_offset_).flags = 0;
    staged_offset_ = 0;
    staged_.hot += where.padding;
  }
  const std::uint64_t next = (staged_offset_ + where.record) % geometry_.hot_bytes;
  // relaxed: published by the commit word below or by the first of the batch; invariant 1.
  shared(record_at(next).commit).store(0, std::memory_order_relaxed);

  flowfs_record& record = record_at(staged_offset_);
  record.flags = where.bulk != 0 ? FLOWFS_RECORD_BULK : std::uint16_t{0};
  record.origin = origin;
  record.sequence = staged_.sequence;
  if (where.bulk != 0) {
    put_bulk(where, message);
  } else {
    std::memcpy(&record + 1, message.data(), message.size());
  }
  put_commit(staged_offset_, static_cast<std::uint32_t>(where.body + 1));
  staged_.hot += where.record;
  staged_.bulk += where.bulk_padding + where.bulk;
  ++staged_.sequence;
  staged_offset_ = next;
  return Outcome::ok;
}

void LaneWriter::publish() {
  if (first_commit_ == 0) {
    return;
  }
  // seq_cst: releases the payload and every later commit word of the batch to LaneReader::peek
  // (acquire), and precedes the look at the sleeper's epoch in Bell::wake.
  shared(record_at(first_offset_).commit).store(first_commit_, std::memory_order_seq_cst);
  first_commit_ = 0;
  committed_ = staged_;
}

void LaneWriter::abandon() {
  first_commit_ = 0;
  staged_ = committed_;
  staged_offset_ = committed_.hot % geometry_.hot_bytes;
}

LaneWriter::Outcome LaneWriter::write(std::span<const std::byte> message) {
  const Outcome outcome = stage(message);
  if (outcome == Outcome::ok) {
    publish();
  }
  return outcome;
}

LaneWriter::Outcome LaneWriter::room_for(std::size_t bytes) {
  if (corrupt_) {
    return Outcome::corrupt;
  }
  const Place where = place(bytes);
  if (fits(where)) {
    return Outcome::ok;
  }
  if (refresh() == Outcome::corrupt) {
    return Outcome::corrupt;
  }
  return fits(where) ? Outcome::ok : Outcome::full;
}

// The longest inline message needs the most of the hot ring, the longest of all the most of the
// bulk.
LaneWriter::Outcome LaneWriter::room_for_any() {
  const Outcome outcome = room_for(geometry_.inline_bytes);
  return outcome == Outcome::ok ? room_for(geometry_.mtu_bytes) : outcome;
}

LaneWriter::Outcome LaneWriter::refresh() {
  // seq_cst, pairs with the constructor of CursorPublisher: the cursors loaded below are of this
  // generation, or of a later one when this lane has ended anyway.
  if (shared(cursors_->generation).load(std::memory_order_seq_cst) !=
      std::to_underlying(generation_)) {
    return Outcome::ok;
  }
  // seq_cst: acquires the reader's last look at what is to be overwritten, and follows the store of
  // sleep_room in Sleeper::begin.
  const std::uint64_t hot = shared(cursors_->hot).load(std::memory_order_seq_cst);
  const std::uint64_t bulk = shared(cursors_->bulk).load(std::memory_order_seq_cst);
  if (corrupt_ || hot < reader_hot_ || hot > committed_.hot || hot % FLOWFS_RECORD_ALIGN != 0 ||
      bulk < reader_bulk_ || bulk > committed_.bulk || bulk % FLOWFS_BULK_ALIGN != 0) {
    corrupt_ = true;
    return Outcome::corrupt;
  }
  reader_hot_ = hot;
  reader_bulk_ = bulk;
  return Outcome::ok;
}

LaneWriter::Place LaneWriter::place(std::size_t bytes) const {
  Place where;
  const bool bulk = bytes > geometry_.inline_bytes;
  where.body = bulk ? sizeof(flowfs_bulk) : bytes;
  where.record = round_up(sizeof(flowfs_record) + where.body, FLOWFS_RECORD_ALIGN);
  const std::uint64_t rest = geometry_.hot_bytes - staged_offset_;
  where.padding = where.record > rest ? rest : 0;
  if (bulk) {
    where.bulk = round_up(bytes, FLOWFS_BULK_ALIGN);
    const std::uint64_t bulk_rest = geometry_.bulk_bytes - staged_.bulk % geometry_.bulk_bytes;
    where.bulk_padding = where.bulk > bulk_rest ? bulk_rest : 0;
  }
  return where;
}

bool LaneWriter::fits(const Place& where) const {
  // One unit stays free for the commit word behind the last record.
  const std::uint64_t hot = staged_.hot - reader_hot_ + where.padding + where.record;
  const std::uint64_t bulk = staged_.bulk - reader_bulk_ + where.bulk_padding + where.bulk;
  return hot <= geometry_.hot_bytes - FLOWFS_RECORD_ALIGN &&
         (where.bulk == 0 || bulk <= geometry_.bulk_bytes);
}

void LaneWriter::put_bulk(const Place& where, std::span<const std::byte> message) {
  const std::uint64_t position = staged_.bulk + where.bulk_padding;
  const flowfs_bulk descriptor{
      .position = position, .length = static_cast<std::uint32_t>(message.size()), .reserved = 0};
  std::memcpy(&record_at(staged_offset_) + 1, &descriptor, sizeof descriptor);
  std::memcpy(own_.data() + geometry_.bulk_offset() + position % geometry_.bulk_bytes,
              message.data(), message.size());
}

// The first commit word of a batch waits for publish(); the reader sees nothing behind it before.
void LaneWriter::put_commit(std::uint64_t offset, std::uint32_t commit) {
  if (first_commit_ == 0) {
    first_commit_ = commit;
    first_offset_ = offset;
  } else {
    // relaxed: published by the seq_cst store in publish().
    shared(record_at(offset).commit).store(commit, std::memory_order_relaxed);
  }
}

flowfs_record& LaneWriter::record_at(std::uint64_t offset) const {
  return *reinterpret_cast<flowfs_record*>(own_.data() + geometry_.hot_offset() + offset);
}

}  // namespace flowfs::pool
