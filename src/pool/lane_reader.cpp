// SPDX-License-Identifier: BSD-3-Clause
#include <utility>

#include "pool/lane.hpp"
#include "pool/shared.hpp"

namespace flowfs::pool {

namespace {

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t step) {
  return (value + step - 1) & ~(step - 1);
}

template <typename T>
const T& at(std::span<const std::byte> segment, std::uint64_t offset) {
  return *reinterpret_cast<const T*>(segment.data() + offset);
}

}  // namespace

LaneReader::LaneReader(const Geometry& geometry, std::span<const std::byte> peer,
                       const Position& start)
    : geometry_(geometry),
      peer_(peer),
      position_(start),
      offset_(start.hot % geometry.hot_bytes),
      corrupt_(start.hot % FLOWFS_RECORD_ALIGN != 0 || start.bulk % FLOWFS_BULK_ALIGN != 0),
      next_(start),
      prefetch_(peer.subspan(geometry.hot_offset(), geometry.hot_bytes), start.hot) {
  FLOWFS_CHECK(geometry.valid() && peer.size() >= geometry.segment_bytes());
}

LaneReader::Outcome LaneReader::peek(Record& record) {
  if (corrupt_) {
    return Outcome::corrupt;
  }
  if (!peeked_) {
    Outcome outcome = Outcome::end;
    if (!end_ || position_.hot < *end_) {
      Header header = load_header();
      outcome = header.commit == 0 ? Outcome::empty : Outcome::record;
      if ((header.commit & FLOWFS_COMMIT_PADDING) != 0) {
        outcome = skip_padding(header);
        if (outcome == Outcome::record) {
          // An honest writer published this record with the padding before it, if not earlier.
          header = load_header();
          outcome = header.commit == 0 ? Outcome::empty : Outcome::record;
        }
      }
      if (outcome == Outcome::record) {
        outcome = take(header);
      }
    }
    if (outcome != Outcome::record) {
      running_ = false;
      return outcome == Outcome::corrupt ? poison() : outcome;
    }
  }
  record = *peeked_;
  return Outcome::record;
}

void LaneReader::pop() {
  FLOWFS_CHECK(peeked_.has_value());
  peeked_.reset();
  position_ = next_;
  offset_ = position_.hot % geometry_.hot_bytes;
  // Not behind the first of a run: it may be the only one, and what comes next the writer's yet.
  if (std::exchange(running_, true)) {
    prefetch_.follow(position_.hot);
  }
}

LaneReader::Outcome LaneReader::poison() {
  corrupt_ = true;
  peeked_.reset();
  return Outcome::corrupt;
}

LaneReader::Header LaneReader::load_header() const {
  const auto& record = at<flowfs_record>(peer_, geometry_.hot_offset() + offset_);
  Header header;
  // seq_cst: acquires the record and its payload from LaneWriter::publish, and follows the store of
  // sleep_data in Sleeper::begin.
  header.commit = shared(record.commit).load(std::memory_order_seq_cst);
  if (header.commit != 0) {
    // relaxed: ordered behind the commit word; atomic so that each is read exactly once (R2).
    header.flags = shared(record.flags).load(std::memory_order_relaxed);
    header.origin = shared(record.origin).load(std::memory_order_relaxed);
    header.sequence = shared(record.sequence).load(std::memory_order_relaxed);
  }
  return header;
}

LaneReader::Outcome LaneReader::skip_padding(const Header& header) {
  const std::uint64_t rest = geometry_.hot_bytes - offset_;
  const std::uint64_t skipped = header.commit & ~FLOWFS_COMMIT_PADDING;
  if (offset_ == 0 || header.flags != 0 || skipped != rest - sizeof(flowfs_record) + 1) {
    return Outcome::corrupt;
  }
  position_.hot += rest;
  offset_ = 0;
  return end_ && position_.hot >= *end_ ? Outcome::end : Outcome::record;
}

// Checks the copy of a header and makes the record of it.
LaneReader::Outcome LaneReader::take(const Header& header) {
  const std::uint64_t body = std::uint64_t{header.commit} - 1;
  std::uint64_t most = 0;
  std::uint64_t least = 1;
  switch (header.flags) {
    case 0:
      most = geometry_.inline_bytes;
      break;
    case FLOWFS_RECORD_BULK:
      least = most = sizeof(flowfs_bulk);
      break;
    case FLOWFS_RECORD_BLOCK:
      least = most = sizeof(flowfs_block);
      break;
    default:
      return Outcome::corrupt;
  }
  if (body < least || body > most || sizeof(flowfs_record) + body > geometry_.hot_bytes - offset_ ||
      (position_.sequence != FLOWFS_SEQUENCE_ANY && header.sequence != position_.sequence)) {
    return Outcome::corrupt;
  }
  position_.sequence = header.sequence;
  const std::uint64_t body_offset = geometry_.hot_offset() + offset_ + sizeof(flowfs_record);
  next_ = {.hot = position_.hot + round_up(sizeof(flowfs_record) + body, FLOWFS_RECORD_ALIGN),
           .bulk = position_.bulk,
           .sequence = header.sequence + 1};
  peeked_ = Record{.payload = peer_.subspan(body_offset, body),
                   .sequence = header.sequence,
                   .origin = header.origin,
                   .block = std::nullopt};
  const bool named = header.flags == FLOWFS_RECORD_BULK    ? take_bulk(body_offset)
                     : header.flags == FLOWFS_RECORD_BLOCK ? take_block(body_offset)
                                                           : true;
  return named ? Outcome::record : Outcome::corrupt;
}

bool LaneReader::take_bulk(std::uint64_t body_offset) {
  const auto& shared_descriptor = at<flowfs_bulk>(peer_, body_offset);
  // relaxed: ordered behind the commit word; each read exactly once.
  const std::uint64_t begin = shared(shared_descriptor.position).load(std::memory_order_relaxed);
  const std::uint64_t length = shared(shared_descriptor.length).load(std::memory_order_relaxed);
  const std::uint64_t ahead = begin - position_.bulk;  // wraps to a huge number where it is behind
  if (begin % FLOWFS_BULK_ALIGN != 0 || length <= geometry_.inline_bytes ||
      length > geometry_.mtu_bytes || ahead > geometry_.bulk_bytes) {
    return false;
  }
  const std::uint64_t room = round_up(length, FLOWFS_BULK_ALIGN);
  const std::uint64_t offset = begin % geometry_.bulk_bytes;
  if (ahead + room > geometry_.bulk_bytes || offset + room > geometry_.bulk_bytes) {
    return false;
  }
  peeked_->payload = peer_.subspan(geometry_.bulk_offset() + offset, length);
  next_.bulk = begin + room;
  return true;
}

bool LaneReader::take_block(std::uint64_t body_offset) {
  const auto& named = at<flowfs_block>(peer_, body_offset);
  // relaxed: ordered behind the commit word; each read exactly once.
  const flowfs_block block{.pool = shared(named.pool).load(std::memory_order_relaxed),
                           .block = shared(named.block).load(std::memory_order_relaxed),
                           .generation = shared(named.generation).load(std::memory_order_relaxed),
                           .offset = shared(named.offset).load(std::memory_order_relaxed),
                           .length = shared(named.length).load(std::memory_order_relaxed)};
  if (block.length == 0 || block.length > geometry_.mtu_bytes) {
    return false;
  }
  peeked_->payload = {};
  peeked_->block = block;
  return true;
}

LaneWalk::LaneWalk(LaneReader& reader)
    : reader_(&reader), begin_hot_(reader.position().hot), begin_bulk_(reader.position().bulk) {}

LaneReader::Outcome LaneWalk::next(LaneReader::Record& record) {
  if (begun_) {
    reader_->pop();
  }
  begun_ = false;
  const LaneReader::Outcome outcome = reader_->peek(record);
  if (outcome == LaneReader::Outcome::record) {
    const Position behind = reader_->behind_record();
    if (behind.hot - begin_hot_ > reader_->geometry().hot_bytes ||
        behind.bulk - begin_bulk_ > reader_->geometry().bulk_bytes) {
      return LaneReader::Outcome::corrupt;
    }
    begun_ = true;
  }
  return outcome;
}

std::optional<Position> find_lane_end(LaneReader reader) {
  LaneReader::Record record;
  LaneWalk walk(reader);
  LaneReader::Outcome outcome{};
  do {
    outcome = walk.next(record);
  } while (outcome == LaneReader::Outcome::record);
  if (outcome == LaneReader::Outcome::corrupt) {
    return std::nullopt;
  }
  return reader.position();
}

CursorPublisher::CursorPublisher(const Geometry& geometry, flowfs_cursors& own,
                                 Generation peer_generation, const Position& position)
    : geometry_(geometry), own_(&own) {
  // relaxed: the owner's own word.
  const std::uint64_t before = shared(own_->generation).load(std::memory_order_relaxed);
  if (before != std::to_underlying(peer_generation)) {
    // seq_cst: before the cursors change, so that they are never taken for those of the segment
    // before, even where this process ends in between. Under no generation nothing has been read.
    shared(own_->generation).store(0, std::memory_order_seq_cst);
  }
  publish(position);
  // seq_cst, pairs with LaneWriter::refresh: whoever sees the generation sees its cursors; and it
  // precedes the look at the sleeper's epoch in Bell::wake.
  shared(own_->generation).store(std::to_underlying(peer_generation), std::memory_order_seq_cst);
}

void CursorPublisher::publish(const Position& position) {
  hot_ = position.hot;
  bulk_ = position.bulk;
  // seq_cst: releases the reader's last look at what the writer may now overwrite
  // (LaneWriter::refresh), and precedes the look at the sleeper's epoch in Bell::wake.
  shared(own_->hot).store(hot_, std::memory_order_seq_cst);
  shared(own_->bulk).store(bulk_, std::memory_order_seq_cst);
}

}  // namespace flowfs::pool
