// SPDX-License-Identifier: BSD-3-Clause
// A lane: the single-writer log of messages in a segment, seen from its two ends.
//
// Shape: flowfs/wire.h and docs/dataplane.md. The commit word in each record is the publication;
// there is no tail. The reader's cursors, in the reader's own segment, are what gives room back.
// Threads: one writer and one reader, each in a thread (or process) of its own.
// Errors: outcomes. `corrupt` is final: the peer wrote what an honest one cannot have written.
// Units: bytes. Positions count all bytes ever laid into a ring.
// Invariants, of an honest writer:
//   1. The commit word at the writer's committed position is 0.
//   2. The writer touches nothing between the reader's published cursor and its own position.
//   3. Nothing behind the cursors of this segment's generation is ever read again.
// Peer death: at any instruction the lane ends at the first commit word that is 0; a record being
// written is not seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "pool/prefetch.hpp"
#include "pool/segment.hpp"

namespace flowfs::pool {

class LaneWriter {
 public:
  enum class [[nodiscard]] Outcome { ok, full, corrupt };
  // What room is wanted for: stage(), loan() or stage_block(), whose length does not matter.
  enum class Use { message, loan, block };

  // Writes the lane in `own` from `start`; reads the cursors in `peer`. Both stay mapped.
  LaneWriter(const Geometry& geometry, std::span<std::byte> own, std::span<const std::byte> peer,
             Generation own_generation, const Position& start);
  // The reader tells its cursors elsewhere than in a segment.
  LaneWriter(const Geometry& geometry, std::span<std::byte> own, const flowfs_cursors& cursors,
             Generation own_generation, const Position& start);

  // Lays down a message of 1..mtu bytes behind what is staged; the reader sees none of it yet.
  Outcome stage(std::span<const std::byte> message, std::uint16_t origin = 0);
  // The same for a message that `fill(place)` writes to where it goes, and says whether it could:
  // if not, nothing is staged, and the outcome is `corrupt`.
  template <typename Fill>
  Outcome stage_filled(std::size_t bytes, Fill fill, std::uint16_t origin = 0) {
    FLOWFS_CHECK(bytes != 0 && bytes <= geometry_.mtu_bytes && !loan_);
    const Place where = place(bytes);
    if (const Outcome room = find_room(where); room != Outcome::ok) {
      return room;
    }
    if (!fill(space(where, bytes))) {
      return Outcome::corrupt;
    }
    put(where, origin, bytes);
    return Outcome::ok;
  }
  // The same for a message in a block of the pool.
  Outcome stage_block(const flowfs_block& block, std::uint16_t origin = 0);
  // Publishes what is staged, all at once. Afterwards the caller rings (Bell::wake_data).
  void publish();
  // Takes back what is staged, and the loan.
  void abandon();
  Outcome write(std::span<const std::byte> message);

  // Lends the place of a message of 1..mtu bytes behind what is staged, to be written in place. The
  // reader sees none of it, and nothing else may be staged, until stage_loan() or cancel_loan().
  Outcome loan(std::size_t bytes, std::span<std::byte>& place);
  // Stages the first `bytes` of the loan, at least one. Whether they had to be moved: a short
  // message may not stay in the bulk ring.
  bool stage_loan(std::size_t bytes, std::uint16_t origin = 0);
  void cancel_loan() { loan_.reset(); }
  [[nodiscard]] bool has_loan() const { return loan_.has_value(); }

  // The peer tells its cursors in another segment now.
  void watch(std::span<const std::byte> peer);

  // Whether a message of `bytes` fits now. Looks at the peer's cursors with seq_cst, so it is the
  // look that follows Sleeper::begin on sleep_room.
  Outcome room_for(std::size_t bytes, Use use = Use::message);
  // The same for a message of any legal length: what POLLOUT promises.
  Outcome room_for_any();
  // Takes the reader's cursors into account. `ok` or `corrupt`.
  Outcome refresh();

  [[nodiscard]] const Position& position() const { return committed_; }
  // As far as the reader is known to have come.
  [[nodiscard]] std::uint64_t reader_hot() const { return reader_hot_; }
  [[nodiscard]] std::uint64_t reader_bulk() const { return reader_bulk_; }

 private:
  // Where a message goes: padding first, then the record, and its payload when that is bulk.
  struct Place {
    std::uint64_t padding = 0;
    std::uint64_t record = 0;  // header and body, rounded up
    std::uint64_t body = 0;
    std::uint64_t bulk_padding = 0;
    std::uint64_t bulk = 0;  // rounded up; 0: inline
  };
  [[nodiscard]] Place place(std::size_t bytes) const;
  [[nodiscard]] Place place_record(std::size_t body) const;
  [[nodiscard]] bool fits(const Place& place) const;
  // Looks at the cursors only where it must.
  Outcome find_room(const Place& place);
  [[nodiscard]] std::span<std::byte> space(const Place& place, std::size_t bytes) const;
  std::byte* put_record(const Place& place, std::uint16_t flags, std::uint16_t origin);
  void put_bulk(const Place& place, std::uint16_t origin, std::size_t bytes);
  void put(const Place& place, std::uint16_t origin, std::size_t bytes);
  void put_commit(std::uint64_t offset, std::uint32_t commit);
  [[nodiscard]] flowfs_record& record_at(std::uint64_t offset) const;

  Geometry geometry_;
  std::span<std::byte> own_;
  const flowfs_cursors* cursors_;
  Generation generation_;
  Position committed_;
  Position staged_;
  std::uint64_t staged_offset_;  // staged_.hot % hot_bytes
  // The first commit word of what is staged, held back until publish().
  std::uint32_t first_commit_ = 0;
  std::uint64_t first_offset_ = 0;
  // The least the reader can have read; grows only.
  std::uint64_t reader_hot_;
  std::uint64_t reader_bulk_;
  struct Loan {
    Place place;
    std::size_t bytes = 0;
  };
  std::optional<Loan> loan_;
  bool corrupt_ = false;
  Prefetch<Intent::write> prefetch_;
};

class LaneReader {
 public:
  enum class [[nodiscard]] Outcome {
    record,
    empty,
    end,  // the lane was closed here (set_end)
    corrupt,
  };
  struct Record {
    std::span<const std::byte> payload;  // in the peer's memory: copy before parsing
    std::uint64_t sequence = 0;
    std::uint16_t origin = 0;
    // The message lies in a block of the pool, and `payload` is empty. A copy, with a length of
    // 1..mtu; whether there is such a block is for the pool to say.
    std::optional<flowfs_block> block;
  };

  // Reads the lane in `peer` from `start`, whose sequence is FLOWFS_SEQUENCE_ANY where the position
  // comes from cursors, which carry none.
  LaneReader(const Geometry& geometry, std::span<const std::byte> peer, const Position& start);

  // The record at the position; the same one until pop(). An empty look is seq_cst, so it is the
  // look that follows Sleeper::begin on sleep_data.
  Outcome peek(Record& record);
  // Steps over the record peeked. Its memory may be written again once the cursors are published.
  void pop();

  // The writer has lost the segment: nothing at or behind this hot position exists.
  void set_end(std::uint64_t hot) { end_ = hot; }
  [[nodiscard]] const Position& position() const { return position_; }
  // The position behind the record peeked.
  [[nodiscard]] const Position& behind_record() const { return next_; }
  [[nodiscard]] const Geometry& geometry() const { return geometry_; }

 private:
  Outcome poison();
  // The copy of a record's header, or nothing where its commit word is 0.
  struct Header {
    std::uint32_t commit = 0;
    std::uint16_t flags = 0;
    std::uint16_t origin = 0;
    std::uint64_t sequence = 0;
  };
  [[nodiscard]] Header load_header() const;
  Outcome skip_padding(const Header& header);
  Outcome take(const Header& header);
  bool take_bulk(std::uint64_t body_offset);
  bool take_block(std::uint64_t body_offset);

  Geometry geometry_;
  std::span<const std::byte> peer_;
  Position position_;
  std::uint64_t offset_;  // position_.hot % hot_bytes
  std::optional<std::uint64_t> end_;
  bool corrupt_ = false;
  // The record peeked and the position behind it.
  std::optional<Record> peeked_;
  Position next_;
  Prefetch<Intent::read> prefetch_;
  bool running_ = false;  // there was a record at the last look too
};

// Steps through all that is committed now, as nothing but an end of the walk, not of the lane: an
// honest lane holds less than a ring of either kind, so a walk that passes more is `corrupt`.
// Bounds both the time and the memory that a lying writer can cost.
class LaneWalk {
 public:
  explicit LaneWalk(LaneReader& reader);
  // Steps over the record of the call before and peeks at the next.
  LaneReader::Outcome next(LaneReader::Record& record);

 private:
  LaneReader* reader_;
  std::uint64_t begin_hot_;
  std::uint64_t begin_bulk_;
  bool begun_ = false;
};

// Where the lane ends: at the first commit word that is 0. Nothing: a record on the way is corrupt.
std::optional<Position> find_lane_end(LaneReader reader);

// Publishes a reader's position into its own segment: every quarter of a ring, and when asked.
class CursorPublisher {
 public:
  // Begins by publishing `position`, which is about the peer's segment of `peer_generation`.
  CursorPublisher(const Geometry& geometry, flowfs_cursors& own, Generation peer_generation,
                  const Position& position);

  // Whether the writer may be waiting for what is not yet published.
  [[nodiscard]] bool due(const Position& position) const {
    return position.hot - hot_ >= geometry_.hot_bytes / 4 ||
           position.bulk - bulk_ >= geometry_.bulk_bytes / 4 + 1;
  }
  [[nodiscard]] bool behind(const Position& position) const { return position.hot != hot_; }
  // Afterwards the caller rings (Bell::wake_room).
  void publish(const Position& position);

 private:
  Geometry geometry_;
  flowfs_cursors* own_;
  std::uint64_t hot_ = 0;
  std::uint64_t bulk_ = 0;
};

}  // namespace flowfs::pool
