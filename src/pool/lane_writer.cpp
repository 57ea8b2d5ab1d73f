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
    : LaneWriter(geometry, own, segment_header(peer).cursors, own_generation, start) {
  FLOWFS_CHECK(peer.size() >= sizeof(flowfs_segment));
}

LaneWriter::LaneWriter(const Geometry& geometry, std::span<std::byte> own,
                       const flowfs_cursors& cursors, Generation own_generation,
                       const Position& start)
    : geometry_(geometry),
      own_(own),
      cursors_(&cursors),
      generation_(own_generation),
      committed_(start),
      staged_(start),
      staged_offset_(start.hot % geometry.hot_bytes),
      // The rings may be full of what the reader has not read; refresh() learns better.
      reader_hot_(round_up(behind(start.hot, geometry.hot_bytes), FLOWFS_RECORD_ALIGN)),
      reader_bulk_(round_up(behind(start.bulk, geometry.bulk_bytes), FLOWFS_BULK_ALIGN)),
      prefetch_(own.subspan(geometry.hot_offset(), geometry.hot_bytes), start.hot) {
  FLOWFS_CHECK(geometry.valid() && own.size() >= geometry.segment_bytes());
}

void LaneWriter::watch(std::span<const std::byte> peer) {
  FLOWFS_CHECK(peer.size() >= sizeof(flowfs_segment));
  cursors_ = &segment_header(peer).cursors;
  reader_hot_ = round_up(behind(committed_.hot, geometry_.hot_bytes), FLOWFS_RECORD_ALIGN);
  reader_bulk_ = round_up(behind(committed_.bulk, geometry_.bulk_bytes), FLOWFS_BULK_ALIGN);
}

LaneWriter::Outcome LaneWriter::stage(std::span<const std::byte> message, std::uint16_t origin) {
  const auto copy = [message](std::span<std::byte> to) {
    std::memcpy(to.data(), message.data(), message.size());
    return true;
  };
  return stage_filled(message.size(), copy, origin);
}

LaneWriter::Outcome LaneWriter::stage_block(const flowfs_block& block, std::uint16_t origin) {
  FLOWFS_CHECK(!loan_);
  const Place where = place_record(sizeof block);
  if (const Outcome room = room_for(0, Use::block); room != Outcome::ok) {
    return room;
  }
  std::memcpy(put_record(where, FLOWFS_RECORD_BLOCK, origin), &block, sizeof block);
  return Outcome::ok;
}

LaneWriter::Outcome LaneWriter::loan(std::size_t bytes, std::span<std::byte>& lent) {
  FLOWFS_CHECK(bytes != 0 && bytes <= geometry_.mtu_bytes && !loan_);
  if (const Outcome room = room_for(bytes, Use::loan); room != Outcome::ok) {
    return room;
  }
  const Place where = place(bytes);
  lent = space(where, bytes);
  loan_ = Loan{.place = where, .bytes = bytes};
  return Outcome::ok;
}

bool LaneWriter::stage_loan(std::size_t bytes, std::uint16_t origin) {
  FLOWFS_CHECK(loan_ && bytes != 0 && bytes <= loan_->bytes);
  Place where = loan_->place;
  loan_.reset();
  if (where.bulk == 0) {
    where.body = bytes;
    where.record = round_up(sizeof(flowfs_record) + bytes, FLOWFS_RECORD_ALIGN);
    put_record(where, 0, origin);
    return false;
  }
  if (bytes > geometry_.inline_bytes) {
    where.bulk = round_up(bytes, FLOWFS_BULK_ALIGN);
    put_bulk(where, origin, bytes);
    return false;
  }
  const std::byte* written = space(where, bytes).data();
  where = place(bytes);
  std::memcpy(space(where, bytes).data(), written, bytes);
  put_record(where, 0, origin);
  return true;
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
  prefetch_.follow(staged_.hot, reader_hot_ + geometry_.hot_bytes);
}

void LaneWriter::abandon() {
  first_commit_ = 0;
  loan_.reset();
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

LaneWriter::Outcome LaneWriter::room_for(std::size_t bytes, Use use) {
  if (use == Use::block) {
    return find_room(place_record(sizeof(flowfs_block)));
  }
  const Outcome room = find_room(place(bytes));
  if (use == Use::loan && room == Outcome::ok && bytes > geometry_.inline_bytes) {
    return find_room(place(geometry_.inline_bytes));  // where it may have to be moved to
  }
  return room;
}

LaneWriter::Outcome LaneWriter::find_room(const Place& where) {
  if (corrupt_) {
    return Outcome::corrupt;
  }
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
  if (bytes <= geometry_.inline_bytes) {
    return place_record(bytes);
  }
  Place where = place_record(sizeof(flowfs_bulk));
  where.bulk = round_up(bytes, FLOWFS_BULK_ALIGN);
  const std::uint64_t rest = geometry_.bulk_bytes - staged_.bulk % geometry_.bulk_bytes;
  where.bulk_padding = where.bulk > rest ? rest : 0;
  return where;
}

LaneWriter::Place LaneWriter::place_record(std::size_t body) const {
  Place where;
  where.body = body;
  where.record = round_up(sizeof(flowfs_record) + body, FLOWFS_RECORD_ALIGN);
  const std::uint64_t rest = geometry_.hot_bytes - staged_offset_;
  where.padding = where.record > rest ? rest : 0;
  return where;
}

bool LaneWriter::fits(const Place& where) const {
  // One unit stays free for the commit word behind the last record.
  const std::uint64_t hot = staged_.hot - reader_hot_ + where.padding + where.record;
  const std::uint64_t bulk = staged_.bulk - reader_bulk_ + where.bulk_padding + where.bulk;
  return hot <= geometry_.hot_bytes - FLOWFS_RECORD_ALIGN &&
         (where.bulk == 0 || bulk <= geometry_.bulk_bytes);
}

// Where the message itself goes.
std::span<std::byte> LaneWriter::space(const Place& where, std::size_t bytes) const {
  if (where.bulk != 0) {
    const std::uint64_t position = staged_.bulk + where.bulk_padding;
    return own_.subspan(geometry_.bulk_offset() + position % geometry_.bulk_bytes, bytes);
  }
  const std::uint64_t offset = where.padding != 0 ? 0 : staged_offset_;
  return own_.subspan(geometry_.hot_offset() + offset + sizeof(flowfs_record), bytes);
}

// Stages the record around its body, which may be written before or after this.
std::byte* LaneWriter::put_record(const Place& where, std::uint16_t flags, std::uint16_t origin) {
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
  record.flags = flags;
  record.origin = origin;
  record.sequence = staged_.sequence;
  put_commit(staged_offset_, static_cast<std::uint32_t>(where.body + 1));
  staged_.hot += where.record;
  ++staged_.sequence;
  staged_offset_ = next;
  return reinterpret_cast<std::byte*>(&record + 1);
}

void LaneWriter::put_bulk(const Place& where, std::uint16_t origin, std::size_t bytes) {
  const flowfs_bulk descriptor{.position = staged_.bulk + where.bulk_padding,
                               .length = static_cast<std::uint32_t>(bytes),
                               .reserved = 0};
  std::memcpy(put_record(where, FLOWFS_RECORD_BULK, origin), &descriptor, sizeof descriptor);
  staged_.bulk += where.bulk_padding + where.bulk;
}

void LaneWriter::put(const Place& where, std::uint16_t origin, std::size_t bytes) {
  if (where.bulk != 0) {
    put_bulk(where, origin, bytes);
  } else {
    put_record(where, 0, origin);
  }
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
